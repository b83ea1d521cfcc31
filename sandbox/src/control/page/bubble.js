// One message as a bubble. A bubble stays the same element for as long as its message is shown; only what has
// changed in it is built anew, so that neither focus nor playback is lost.
import { clockTime, dialog, duration, fileSize, make, shortName } from './dom.js'
import { icon } from './icons.js'
import { marked } from './marks.js'
import { player } from './player.js'

const KINDS = {
  image: 'Photo', video: 'Video', gif: 'GIF', round_video: 'Video message', voice: 'Voice message', audio: 'Audio', document: 'File',
  sticker: 'Sticker', location: 'Location', contact: 'Contact', contacts: 'Contacts', poll: 'Poll',
}
const TICKS = { sent: '✓', delivered: '✓✓', read: '✓✓', played: '✓✓' }

const kindName = kind => KINDS[kind] ?? kind.replaceAll('_', ' ')

/** A message in one line, for lists, quotes and labels. */
export function summary(message) {
  if (message.undecryptable) return 'Waiting for this message'
  if (message.revoked) return 'Deleted message'
  if (message.kind === 'text') return message.text ?? ''
  const name = kindName(message.kind)
  const length = message.seconds ? ` (${duration(message.seconds)})` : ''
  const more = message.caption || message.text || message.file_name
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

function place(message) {
  const { latitude, longitude } = message.location ?? message
  if (latitude === undefined || latitude === null) return [make('em', {}, kindName(message.kind))]
  const where = `${latitude.toFixed(5)}, ${longitude.toFixed(5)}`
  return [make('a', { href: `geo:${latitude},${longitude}`, class: 'file' }, icon('pin'), make('span', {}, where))]
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
    case 'location': return place(message)
    default:
      if (!message.size) return [make('em', {}, `(${kindName(message.kind)})`)]
      return [make('a', { href: source, download: message.file_name ?? 'file', class: 'file' },
        icon('file'),
        make('span', {}, make('b', {}, message.file_name ?? kindName(message.kind)),
          make('small', {}, [message.mimetype, fileSize(message.size)].filter(Boolean).join(' · '))))]
  }
}

/** What it says. */
function body(message, quoted, api, act) {
  const parts = []
  if (message.reply_to) {
    parts.push(make('button', { type: 'button', class: 'quote', onclick: () => act.goTo(message.reply_to) },
      make('b', {}, quoted ? (quoted.from_me ? 'You' : act.peerName()) : 'Earlier'),
      make('span', { dir: 'auto' }, quoted ? summary(quoted) : 'A message that is not shown here')))
  }
  if (message.undecryptable) return [...parts, make('em', {}, 'Waiting for this message. This may take a while.')]
  if (message.revoked) return [...parts, make('em', {}, 'This message was deleted.')]
  if (message.kind === 'text') return [...parts, make('span', { class: 'text', dir: 'auto' }, marked(message.text ?? ''))]
  parts.push(...attachment(message, api.media(message.id), () => act.listened(message)))
  const caption = message.caption ?? (message.kind === 'image' ? null : message.text)
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
    message.reply_to, quoted && summary(quoted)])
  if (item.said !== said) item.children[0].replaceChildren(...body(message, quoted, api, act))
  item.said = said
  const signs = JSON.stringify([message.status, message.edited, message.revoked, message.reactions])
  if (item.signs !== signs) item.children[1].replaceChildren(...foot(message, act))
  item.signs = signs
  item.classList.toggle('gone', message.revoked || message.undecryptable)
  item.setAttribute('aria-label', `${message.from_me ? 'You' : act.peerName()}: ${summary(message)}`)
  return item
}
