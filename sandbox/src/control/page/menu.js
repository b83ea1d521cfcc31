// The menu of a message: reactions and what can be done with it. It opens by long press, by context menu, by the
// button beside the message, and by the keyboard (Enter, Space, the menu key).
import { $, dialog, make, notNow } from './dom.js'
import { icon } from './icons.js'

const REACTIONS = ['👍', '❤️', '😂', '😮', '😢', '🙏']
const LONG_PRESS_MS = 500
let close = () => {}

function place(menu, item, point) {
  const around = item.getBoundingClientRect()
  const { width, height } = menu.getBoundingClientRect()
  const x = point?.x ?? (item.classList.contains('own') ? around.right - width : around.left)
  const y = point?.y ?? around.bottom + 4
  menu.style.left = `${Math.max(8, Math.min(x, innerWidth - width - 8))}px`
  menu.style.top = `${Math.max(8, Math.min(y, innerHeight - height - 8))}px`
}

/** Asks for an emoji that is not in the row. */
async function another(react) {
  const field = make('input', { type: 'text', maxlength: 16, autofocus: true, required: true })
  const answer = await dialog('Another reaction', make('form', { method: 'dialog' }, make('label', { class: 'setting' }, 'Emoji', field),
    make('p', { class: 'actions' }, notNow(), make('button', { value: 'yes' }, 'React'))))
  if (answer === 'yes' && field.value.trim()) react(field.value.trim())
}

/** Opens the menu of `item`; `actions` are `[label, what it does]`. */
export function openMenu(item, point, { label = 'Message actions', actions, react, mine }) {
  close()
  const choose = work => () => {
    close()
    work()
  }
  const emoji = REACTIONS.map(each => make('button', { type: 'button', role: 'menuitemradio', 'aria-checked': String(mine === each),
    'aria-label': `React with ${each}`, onclick: choose(() => react(mine === each ? '' : each)) }, each))
  const other = make('button', { type: 'button', role: 'menuitem', 'aria-label': 'Another reaction', onclick: choose(() => another(react)) }, icon('attach'))
  const menu = make('div', { class: 'menu', role: 'menu', 'aria-label': label },
    react ? make('div', { class: 'emoji', role: 'group', 'aria-label': 'Reactions' }, emoji, other) : null,
    actions.map(([label, work]) => make('button', { type: 'button', role: 'menuitem', onclick: choose(work) }, label)))
  const outside = event => menu.contains(event.target) || close()
  close = () => {
    menu.remove()
    removeEventListener('pointerdown', outside, true)
    close = () => {}
    item.focus({ preventScroll: true })
  }
  menu.onkeydown = event => {
    const all = [...menu.querySelectorAll('button')]
    const here = all.indexOf(document.activeElement)
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key]
    if (step) all[(here + step + all.length) % all.length].focus()
    else if (event.key === 'Escape' || event.key === 'Tab') close()
    else return
    event.preventDefault()
    event.stopPropagation()
  }
  $('app').append(menu)
  addEventListener('pointerdown', outside, true)
  place(menu, item, point)
  menu.querySelector('button').focus({ preventScroll: true })
}

/** Gives a list of messages its menus; `describe(message)` says what one offers. */
export function menus(list, describe) {
  const offer = (item, point) => openMenu(item, point, describe(item.message))
  const of = event => event.target.closest?.('li[data-id]')
  let press = null
  const release = () => {
    clearTimeout(press)
    press = null
  }
  list.addEventListener('pointerdown', event => {
    const item = of(event)
    release()
    if (!item || event.button || event.target.closest('input, video, .more')) return
    const point = { x: event.clientX, y: event.clientY }
    press = setTimeout(() => {
      // The click that ends a long press shall not act as well.
      addEventListener('click', late => { late.stopPropagation(); late.preventDefault() }, { capture: true, once: true })
      setTimeout(() => offer(item, point))
    }, LONG_PRESS_MS)
  })
  for (const event of ['pointerup', 'pointercancel', 'pointerleave']) list.addEventListener(event, release)
  list.addEventListener('pointermove', event => Math.hypot(event.movementX, event.movementY) > 4 && release())
  list.addEventListener('contextmenu', event => {
    const item = of(event)
    if (!item || event.target.closest('a')) return
    event.preventDefault()
    release()
    offer(item, event.clientX ? { x: event.clientX, y: event.clientY } : null)
  })
  list.addEventListener('click', event => event.target.closest('.more') && offer(of(event), null))
  list.addEventListener('keydown', event => {
    const item = event.target
    if (!item.matches('li[data-id]')) return
    const all = [...list.querySelectorAll('li[data-id]')]
    const to = { ArrowUp: all[all.indexOf(item) - 1], ArrowDown: all[all.indexOf(item) + 1], Home: all[0], End: all.at(-1) }[event.key]
    if (to) to.focus()
    else if (event.key === 'Enter' || event.key === ' ') offer(item, null)
    else return
    event.preventDefault()
  })
}
