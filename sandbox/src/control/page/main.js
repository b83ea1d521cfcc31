// A phone: its chats, what its owner would do with them, and the sandbox behind it.
import { ask, follow, phoneApi, users } from './api.js'
import { bubble } from './bubble.js'
import { showChats } from './chats.js'
import { Composer } from './composer.js'
import { $, attempt, calm, complain, confirmed, day, make, paint, settle, shortName } from './dom.js'
import { icon } from './icons.js'
import { menus } from './menu.js'
import { openSettings, turnOn } from './settings.js'
import { openWorkshop } from './workshop.js'

const PAGE = 200
const TYPING_ENDS_MS = 25_000

const number = decodeURIComponent(location.pathname.split('/').pop()).replace(/^\+?/, '+')
const api = phoneApi(number)
const state = { phone: null, chats: [], users: [], open: null, messages: [], typing: new Map(), folder: true, last: PAGE, now: Date.now() }
const composer = new Composer($('compose'), api, () => state.open)
const bubbles = new Map()
const ends = new Map()

const act = {
  number,
  peerName: () => shortName(state.open),
  react: (message, emoji) => attempt(() => api.post('reactions', { to: state.open, message: message.id, emoji })),
  goTo(id) {
    const item = bubbles.get(id)
    item?.scrollIntoView({ block: 'center' })
    item?.focus()
  },
  fetchAgain: message => attempt(() => ask(api.media(message.id), {})),
  listened(message) {
    if (!message.from_me && (message.kind === 'voice' || message.view_once) && message.status !== 'played') {
      attempt(() => api.post('receipts', { to: state.open, type: 'played', ids: [message.id] }))
    }
  },
}

async function remove(message) {
  if (await confirmed('Delete this message?', ['It disappears on the other side as well, if the other app does as it is told.'], 'Delete')) {
    await attempt(() => api.post('revokes', { to: state.open, message: message.id }))
  }
}

menus($('messages'), message => {
  const usable = !message.revoked && !message.undecryptable && !message.expired
  const actions = []
  if (usable) actions.push(['Reply', () => composer.answer(message)])
  if (usable && (message.text || message.caption)) {
    actions.push(['Copy', () => attempt(() => navigator.clipboard.writeText(message.text ?? message.caption))])
  }
  if (usable && message.from_me && (message.kind === 'text' || composer.captions(message))) actions.push(['Edit', () => composer.edit(message)])
  if (usable && message.from_me) actions.push(['Delete', () => remove(message)])
  actions.push(['Details', () => confirmed('Details', [
    `Id: ${message.id}`, `Kind: ${message.kind}`, `Status: ${message.status}`,
    message.encrypted ? `Encrypted as ${message.encrypted}` : 'Not decrypted', ...message.sha256 ? [`SHA-256: ${message.sha256}`] : [],
  ], 'Close')])
  return {
    actions,
    mine: message.reactions.find(({ from }) => from === number)?.emoji,
    react: usable && (emoji => act.react(message, emoji)),
  }
})

function choose(user) {
  location.hash = user === null ? '' : `chat=${encodeURIComponent(user)}`
}

/** Follows the address: the browser's own way back leads from a chat to the list. */
function turnPage() {
  const user = /^#chat=(.+)$/.exec(location.hash)?.[1]
  const next = user ? decodeURIComponent(user) : null
  if (next !== state.open) {
    Object.assign(state, { open: next, messages: [], last: PAGE })
    bubbles.clear()
    $('messages').replaceChildren()
    composer.text.value = ''
    composer.clear()
    calm()
  }
  $('app').dataset.pane = next ? 'chat' : 'list'
  refresh(true)
}

function showConversation() {
  const { phone, open, messages } = state
  $('conversation').hidden = open === null
  $('nothing').hidden = open !== null
  if (open === null) return
  paint($('peer-avatar'), open)
  $('peer').textContent = shortName(open)
  const typing = state.typing.get(open)
  const said = typing ? (typing === 'recording' ? 'recording…' : 'typing…') : `another app · ${open}`
  if ($('peer-state').textContent !== said) $('peer-state').textContent = said
  const blocked = phone.blocked.includes(open)
  const gone = !state.users.some(user => user.user === open)
  $('block').textContent = blocked ? 'Unblock' : 'Block'
  $('warning').textContent = gone ? `${shortName(open)} has left: nothing can be sent to this chat.`
    : blocked ? `You have blocked ${shortName(open)}. Unblock to write.`
      : !phone.options.third_party_chats ? 'Third-party chats are off. Turn them on in the settings to write.'
        : `${shortName(open)} uses another app. Messages are end-to-end encrypted up to that app; what it does with them follows its own rules.`
  $('compose').inert = blocked || gone || !phone.options.third_party_chats
  $('earlier').hidden = messages.length < state.last

  const byId = new Map(messages.map(message => [message.id, message]))
  const items = []
  let today = null
  for (const message of messages) {
    const when = day(message.ts, state.now)
    if (when !== today) {
      today = when
      const key = `day ${when}`
      if (!bubbles.has(key)) bubbles.set(key, make('li', { class: 'day' }, make('span', {}, when)))
      items.push(bubbles.get(key))
    }
    const item = bubble(bubbles.get(message.id), message, byId.get(message.reply_to), api, act)
    bubbles.set(message.id, item)
    items.push(item)
  }
  const stays = state.fresh || isAtEnd()
  settle($('messages'), items)
  // One of the messages can be reached with the Tab key; from there the arrow keys lead on.
  for (const item of items) item.tabIndex = -1
  if (items.length) items.at(-1).tabIndex = 0
  if (stays) toEnd()
  state.fresh = false
}

function isAtEnd() {
  const { scrollHeight, scrollTop, clientHeight } = $('scroll')
  return scrollHeight - scrollTop - clientHeight < 120
}

function toEnd() {
  $('scroll').scrollTop = $('scroll').scrollHeight
  following = true
}

/** Says that what is on the screen was read; a refusal (the phone is offline, say) is no reason to disturb. */
async function markRead() {
  const unread = state.messages.filter(message => !message.from_me && !message.undecryptable && ['sent', 'delivered'].includes(message.status))
  if (unread.length && document.visibilityState === 'visible') {
    await api.post('receipts', { to: state.open, type: 'read', ids: unread.map(message => message.id) }).catch(() => {})
  }
}

let running = null
let again = false

/** Brings the page up to date; many events at once make one round. */
function refresh(fresh = false) {
  state.fresh ||= fresh
  again = true
  running ??= (async () => {
    while (again) {
      again = false
      try {
        const open = state.open
        const [phone, chats, joined, messages] = await Promise.all([api.show(), api.chats(), users(), open === null ? [] : api.messages(open, state.last).catch(gone)])
        if (open !== state.open) continue
        Object.assign(state, { phone, chats, users: joined, messages, now: Math.max(Date.now(), messages.at(-1)?.ts ?? 0) })
        show()
        await markRead()
      } catch (error) {
        complain(error)
      }
    }
    running = null
  })()
}

/** A user who has never joined has no chat: the page says so instead of failing. */
function gone(error) {
  if (state.users.length) complain(error)
  return []
}

function show() {
  const { phone } = state
  $('owner').textContent = phone.name || 'Phone'
  $('number').textContent = phone.options.online ? phone.number : `${phone.number} · offline`
  document.title = `${phone.name || phone.number} – sandbox phone`
  showChats(state, choose, () => turnOn(api))
  showConversation()
}

function typed({ with: user, state: how }) {
  clearTimeout(ends.get(user))
  if (how === 'paused') state.typing.delete(user)
  else {
    state.typing.set(user, how)
    ends.set(user, setTimeout(() => typed({ with: user, state: 'paused' }), TYPING_ENDS_MS))
  }
  if (state.phone) show()
}

follow({
  happened(name, event) {
    if (event.phone && event.phone !== number) return
    if (name === 'typing') return typed(event)
    if (name === 'message' && !event.message?.from_me) typed({ with: event.with, state: 'paused' })
    if (name === 'identity_changed') {
      complain(Object.assign(new Error(`The security code of ${shortName(event.with)} has changed.`), { cure: 'The app may have been installed anew.' }))
    }
    refresh()
  },
  lost: () => complain(Object.assign(new Error('The sandbox does not answer.'), { cure: 'See whether it still runs; this page goes on by itself.' })),
  back() {
    calm()
    refresh()
  },
})

for (const button of document.querySelectorAll('[data-icon]')) button.append(icon(button.dataset.icon))
// Who is at the end stays there, also when a picture above comes to its size.
let following = true
$('scroll').addEventListener('scroll', () => { following = isAtEnd() })
const sizes = new ResizeObserver(() => following && toEnd())
for (const part of ['messages', 'scroll']) sizes.observe($(part))
$('back').onclick = () => choose(null)
$('earlier').onclick = () => {
  state.last += PAGE
  refresh()
}
$('block').onclick = async () => {
  const { open } = state
  const blocked = state.phone.blocked.includes(open)
  const sure = blocked || await confirmed(`Block ${shortName(open)}?`, ['Nothing that this person writes through the other app will reach this phone.'], 'Block')
  if (sure) await attempt(() => api.post('block', { to: open, blocked: !blocked }))
}
$('open-settings').onclick = () => openSettings(api, state.phone)
$('open-workshop').onclick = () => openWorkshop()
document.addEventListener('visibilitychange', () => refresh())
addEventListener('hashchange', turnPage)
turnPage()
