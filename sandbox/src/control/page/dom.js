// Small helpers around the document.
import { icon } from './icons.js'

export const $ = id => document.getElementById(id)

/** Makes an element: `make('button', { class: 'icon', type: 'button', onclick }, 'text', child)`. */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value)
    else made.setAttribute(name, value === true ? '' : value)
  }
  made.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== false))
  return made
}

/** Makes `parent` hold exactly `children`, touching only what differs: focus stays where it is. */
export function settle(parent, children) {
  children.forEach((child, index) => {
    if (parent.childNodes[index] !== child) parent.insertBefore(child, parent.childNodes[index] ?? null)
  })
  while (parent.childNodes.length > children.length) parent.lastChild.remove()
}

/** Shows a refusal with cause and cure until it is closed or the next one comes. */
export function complain(error) {
  const close = make('button', { type: 'button', class: 'icon', 'aria-label': 'Close', onclick: calm }, icon('close'))
  $('alert').replaceChildren(make('p', {}, make('strong', {}, error.message), error.cure ? ` ${error.cure}` : ''), close)
}

export function calm() {
  $('alert').replaceChildren()
}

/** Does something that may be refused, and says so if it is. Returns whether it was done. */
export async function attempt(work) {
  try {
    await work()
    return true
  } catch (error) {
    complain(error)
    return false
  }
}

/** Opens a dialog with this content; resolves with what its closing button carries. */
export function dialog(label, content, className = '') {
  const opened = make('dialog', { 'aria-label': label, class: className }, content)
  document.body.append(opened)
  opened.addEventListener('click', event => event.target === opened && opened.close(''))
  opened.showModal()
  return new Promise(resolve => {
    opened.addEventListener('close', () => {
      opened.remove()
      resolve(opened.returnValue)
    })
  })
}

/** Puts a dialog off. It is no submit button, so that the Enter key in a field means yes. */
export const notNow = () => make('button', { type: 'button', class: 'plain', onclick: ({ target }) => target.closest('dialog').close('') }, 'Not now')

/** Asks before something that cannot be undone. */
export async function confirmed(question, explanation, yes) {
  const answer = await dialog(question, make('form', { method: 'dialog' },
    make('h2', {}, question),
    explanation.map(text => make('p', {}, text)),
    make('p', { class: 'actions' },
      notNow(),
      make('button', { value: 'yes', autofocus: true }, yes))))
  return answer === 'yes'
}

export const clockTime = ms => new Date(ms).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })

/** The day in words, seen from the sandbox's own `now`. */
export function day(ms, now) {
  const start = at => new Date(at).setHours(0, 0, 0, 0)
  const days = Math.round((start(now) - start(ms)) / 86_400_000)
  if (days === 0) return 'Today'
  if (days === 1) return 'Yesterday'
  return new Date(ms).toLocaleDateString([], { year: 'numeric', month: 'long', day: 'numeric' })
}

export const duration = seconds => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, '0')}`

export function fileSize(bytes) {
  const units = ['bytes', 'kB', 'MB', 'GB']
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), units.length - 1)
  const value = bytes / 1000 ** power
  return `${power && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[power]}`
}

/** What a person is called: the first part of `@alice:localhost`. */
export const shortName = user => /^@([^:]+):/.exec(user)?.[1] ?? user

/** A round sign with a letter, of a colour that stays the person's own. */
export function paint(avatar, user) {
  let hash = 0
  for (const letter of user) hash = (hash * 31 + letter.codePointAt(0)) % 360
  avatar.style.setProperty('--hue', hash)
  avatar.textContent = [...shortName(user)][0]?.toUpperCase() ?? '?'
  return avatar
}
