// One message as a bubble. A bubble stays the same element for as long as its message is shown; only what has
// changed in it is built anew, so that neither focus nor playback is lost.
import { clockTime, dialog, duration, fileSize, make, shortName } from './dom.js'
import { icon } from './icons.js'
import { marked } from './marks.js'
import { player, silence } from './player.js'

const KINDS = {
  image: 'Photo', video: 'Video', gif: 'GIF', round_video: 'Video message', voice: 'Voice message', audio: 'Audio', document: 'File',
  sticker: 'Sticker', location: 'Location', live_location: 'Live location', contact: 'Contact', poll: 'Poll', timer: 'Disappearing messages',
}
const TICKS = { sent: '✓', delivered: '✓✓', read: '✓✓', played: '✓✓' }

const kindName = kind => KINDS[kind] ?? kind.replaceAll('_', ' ')

/** A message in one line, for lists, quotes and labels. */
export function summary(message) {
  if (message.undecryptable) return 'Waiting for this message'
  if (message.expired) return 'A message that has disappeared'
  if (message.kind === 'timer') return timer(message)
  if (message.revoked) return 'Deleted message'
  if (message.kind === 'text') return message.text ?? ''
  const name = kindName(message.kind) + (message.view_once ? ' to be opened once' : '')
  const length = message.duration ? ` (${duration(message.duration)})` : ''
  const more = message.caption || message.text || message.file_name || message.contacts[0]?.name || message.location?.name
  return more ? `${name}${length}: ${more}` : name + length
}

function picture(message, source, className) {
  const size = message.width && message.height ? { width: message.width, height: message.height } : {}
  const alternative = message.caption ? `Photo: ${message.caption}` : kindName(message.kind)
  const image = () => make('img', { src: source, alt: alternative, ...size })
  const open = () => dialog(alternative, [
    make('form', { method: 'dialog' }, make('button', { class: 'icon', 'aria-label': 'Close' }, icon('close'))), image(),
  ], 'light')
  return make('button', { type: 'button', class: className, 'aria-label': `Enlarge: ${alternative}`, onclick: open }, image())
}

function timer({ expiration }) {
  if (!expiration) return 'Messages stay from now on'
  const [unit, size] = [['days', 86_400], ['hours', 3600], ['minutes', 60], ['seconds', 1]].find(([, size]) => expiration >= size)
  return `Messages disappear after ${+(expiration / size).toFixed(1)} ${unit}`
}

const entry = (sign, link, title, ...details) => make('a', { class: 'file', ...link }, icon(sign),
  make('span', {}, make('b', { dir: 'auto' }, title), make('small', { dir: 'auto' }, details.filter(Boolean).join(' · '))))

function place({ kind, location }) {
  if (!location) return [make('em', {}, `(${kindName(kind)})`)]
  const { latitude, longitude, name, address, accuracy } = location
  const where = `${latitude.toFixed(5)}, ${longitude.toFixed(5)}${accuracy ? ` ± ${accuracy} m` : ''}`
  return [entry('pin', { href: `geo:${latitude},${longitude}` }, name || kindName(kind), address, where)]
}

const card = ({ name, vcard }) => entry('person', {
  href: `data:text/vcard;charset=utf-8,${encodeURIComponent(vcard)}`, download: `${name}.vcf`,
}, name, /^TEL[^:]*:(.*)$/mi.exec(vcard)?.[1])

/** What is to be opened once: never in the chat, but where it is opened, and not again. Its sender cannot open it at all. */
function once(message, source, act) {
  const name = kindName(message.kind)
  if (message.from_me) return [make('em', {}, `${name}, to be opened once${message.status === 'played' ? ': opened' : ''}`)]
  if (message.status === 'played') return [make('em', {}, `${name}: opened once`)]
  const heard = message.kind === 'voice' || message.kind === 'audio'
  const shown = () => heard ? player(message, source, () => {})
    : message.kind === 'image' ? make('img', { src: source, alt: name })
      : make('video', { src: source, controls: true, autoplay: true, 'aria-label': name })
  return [make('button', { type: 'button', class: 'plain', onclick: async () => {
    await dialog(name, [make('form', { method: 'dialog' }, heard ? make('h2', {}, name) : null,
      make('button', { class: 'icon', 'aria-label': 'Close' }, icon('close'))), shown()], heard ? 'once' : 'light')
    silence()
    act.listened(message)
  } }, `${name}: open once`)]
}

/** What stands in the place of a file that is not there, or is to be opened once. */
function instead(message, source, act) {
  const name = kindName(message.kind)
  if (message.media === 'fetching') return [make('em', {}, `${name}: fetching…`)]
  if (message.media === 'failed') {
    return [make('em', {}, `${name}: ${message.media_error ?? 'it could not be fetched'}`),
      make('button', { type: 'button', class: 'plain', onclick: () => act.fetchAgain(message) }, 'Fetch again')]
  }
  return message.view_once ? once(message, source, act) : null
}

function attachment(message, source, listened) {
  switch (message.kind) {
    case 'image': return [picture(message, source, 'picture')]
    case 'sticker': return [picture(message, source, 'picture sticker')]
    case 'gif': return [make('video', { src: source, controls: true, loop: true, muted: true, 'aria-label': 'GIF' })]
    case 'video':
    case 'round_video':
      return [make('video', { src: source, controls: true, preload: 'metadata', 'aria-label': kindName(message.kind) })]
    case 'voice':
    case 'audio': return [player(message, source, listened)]
    case 'location':
    case 'live_location': return place(message)
    case 'contact': return message.contacts.map(card)
    case 'timer': return [make('em', {}, timer(message))]
    default:
      if (!message.media) return [make('em', {}, `(${kindName(message.kind)})`)]
      return [entry('file', { href: source, download: message.file_name ?? 'file' }, message.file_name ?? kindName(message.kind),
        message.mimetype, fileSize(message.size))]
  }
}

/** What it says. */
function body(message, quoted, api, act) {
  const parts = []
  if (message.reply_to) {
    parts.push(make('button', { type: 'button', class: 'quote', onclick: () => act.goTo(message.reply_to) },
      make('b', {}, quoted ? (quoted.from_me ? 'You' : act.peerName()) : 'Earlier'),
      make('span', { dir: 'auto' }, quoted ? marked(summary(quoted)) : 'A message that is not shown here')))
  }
  if (message.undecryptable) return [...parts, make('em', {}, 'Waiting for this message. This may take a while.')]
  if (message.revoked) return [...parts, make('em', {}, 'This message was deleted.')]
  if (message.expired) return [...parts, make('em', {}, 'This message has disappeared.')]
  if (message.forwarded) parts.unshift(make('small', {}, 'Forwarded'))
  if (message.kind === 'text') return [...parts, make('span', { class: 'text', dir: 'auto' }, marked(message.text ?? ''))]
  const source = api.media(message.id)
  parts.push(...instead(message, source, act) ?? attachment(message, source, () => act.listened(message)))
  const caption = message.caption ?? message.text
  if (caption) parts.push(make('span', { class: 'text', dir: 'auto' }, marked(caption)))
  return parts
}

function foot(message, act) {
  const parts = []
  if (message.edited && !message.revoked) parts.push('edited ')
  parts.push(make('time', { datetime: new Date(message.ts).toISOString() }, clockTime(message.ts)))
  if (message.from_me && !message.revoked) {
    parts.push(make('span', { class: `ticks ${message.status}`, role: 'img', 'aria-label': message.status, title: message.status },
      TICKS[message.status]))
  }
  const reactions = new Map()
  for (const { from, emoji } of message.reactions) reactions.set(emoji, [...reactions.get(emoji) ?? [], from])
  const shown = [...reactions].map(([emoji, who]) => {
    const names = who.map(from => from === act.number ? 'you' : shortName(from)).join(' and ')
    return make('button', { type: 'button', class: 'reaction', title: names, 'aria-label': `${emoji} by ${names}`,
      onclick: () => act.react(message, who.includes(act.number) ? '' : emoji) }, emoji, who.length > 1 ? ` ${who.length}` : '')
  })
  return [make('small', {}, parts), shown.length ? make('span', { class: 'reactions' }, shown) : null].filter(Boolean)
}

/** Makes the bubble of a message, or brings the one it has up to date. */
export function bubble(item, message, quoted, api, act) {
  if (!item) {
    item = make('li', { 'data-id': message.id, tabindex: -1, class: message.from_me ? 'own' : '' },
      make('div', { class: 'body' }), make('div', { class: 'foot' }),
      make('button', { type: 'button', class: 'more', tabindex: -1, 'aria-haspopup': 'menu', 'aria-label': 'Message actions' }, icon('more')))
  }
  item.message = message
  const said = JSON.stringify([message.kind, message.text, message.caption, message.size, message.undecryptable, message.revoked,
    message.expired, message.media, message.view_once && message.status === 'played', message.reply_to, quoted && summary(quoted)])
  if (item.said !== said) item.children[0].replaceChildren(...body(message, quoted, api, act))
  item.said = said
  const signs = JSON.stringify([message.status, message.edited, message.revoked, message.reactions])
  if (item.signs !== signs) item.children[1].replaceChildren(...foot(message, act))
  item.signs = signs
  item.classList.toggle('gone', message.revoked || message.undecryptable || message.expired)
  item.setAttribute('aria-label', `${message.from_me ? 'You' : act.peerName()}: ${summary(message)}`)
  return item
}
