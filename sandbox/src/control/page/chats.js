// The list of chats.
import { $, clockTime, day, make, paint, shortName } from './dom.js'
import { summary } from './bubble.js'

const rows = new Map()

function row(chat, open, choose, now) {
  if (!rows.has(chat.with)) {
    const button = make('button', { type: 'button', class: 'row', onclick: () => choose(chat.with) },
      paint(make('span', { class: 'avatar', 'aria-hidden': 'true' }), chat.with),
      make('span', { class: 'what' }, make('b', {}, shortName(chat.with)), make('span', { class: 'last', dir: 'auto' })),
      make('span', { class: 'side' }, make('time'), make('span', { class: 'badge' })))
    rows.set(chat.with, make('li', {}, button))
  }
  const item = rows.get(chat.with)
  const [last, time, badge] = ['.last', 'time', '.badge'].map(part => item.querySelector(part))
  const said = chat.typing ? (chat.typing === 'recording' ? 'recording…' : 'typing…')
    : chat.last ? (chat.last.from_me ? 'You: ' : '') + summary(chat.last) : 'uses another app'
  if (last.textContent !== said) last.textContent = said
  last.classList.toggle('typing', Boolean(chat.typing))
  const when = chat.last && day(chat.last.ts, now)
  time.textContent = !when ? '' : when === 'Today' ? clockTime(chat.last.ts) : when
  badge.textContent = chat.unread || ''
  badge.setAttribute('aria-label', chat.unread ? `${chat.unread} unread` : '')
  if (open === chat.with) item.firstChild.setAttribute('aria-current', 'true')
  else item.firstChild.removeAttribute('aria-current')
  return item
}

/** Shows the chats as the phone's inbox setting says: third-party chats in a folder of their own, or all in one list. */
export function showChats(state, choose, turnOn) {
  const { phone, users, open, typing, now } = state
  const known = new Map(state.chats.map(chat => [chat.with, chat]))
  for (const user of users) if (!known.has(user.user)) known.set(user.user, { with: user.user, messages: 0, unread: 0, last: null })
  const chats = [...known.values()].map(chat => ({ ...chat, typing: typing.get(chat.with) }))
    .sort((a, b) => (b.last?.ts ?? 0) - (a.last?.ts ?? 0) || a.with.localeCompare(b.with))
  const list = make('ul', { class: 'plain-list' }, chats.map(chat => row(chat, open, choose, now)))
  const content = []
  if (!phone.options.third_party_chats) {
    content.push(make('div', { class: 'empty' }, make('p', {}, 'Third-party chats are off: people who use other apps cannot write to this phone.'),
      make('button', { type: 'button', onclick: turnOn }, 'Turn them on')))
  }
  if (!chats.length) {
    content.push(make('div', { class: 'empty' }, make('p', {}, 'Nobody to write to yet.'),
      make('p', {}, 'A Matrix user joins by writing “enable” to the bridge’s bot.')))
  } else if (phone.options.combined_inbox) content.push(list)
  else {
    const unread = chats.reduce((sum, chat) => sum + (chat.unread ?? 0), 0)
    const folder = make('details', { open: state.folder }, make('summary', {}, 'Third-party chats',
      unread ? make('span', { class: 'badge', 'aria-label': `${unread} unread` }, unread) : null), list)
    folder.ontoggle = () => { state.folder = folder.open }
    content.push(folder)
  }
  // The row that has the focus keeps it.
  const focused = document.activeElement
  $('chats').replaceChildren(...content)
  if (focused && $('chats').contains(focused)) focused.focus({ preventScroll: true })
}
