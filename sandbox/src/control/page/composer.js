// Writing: text, replies, edits, files and voice messages.
import { attempt, duration, fileSize, make } from './dom.js'
import { attachments } from './attach.js'
import { Refusal } from './api.js'
import { summary } from './bubble.js'
import { icon } from './icons.js'
import { Recording, voiceFrom } from './record.js'

const TYPING_EVERY_MS = 5000
const PAUSE_AFTER_MS = 6000

/** Pixels of a sticker, each way. */
const STICKER = 512

/** Kinds that carry a text of their own; beside others it goes as the next message. */
const CAPTIONED = new Set(['image', 'video', 'gif', 'document'])

/** Kinds that may be sent to be opened once. */
const ONCE = new Set(['image', 'video', 'voice'])

const kindOf = file => ({ image: 'image', video: 'video', audio: 'audio' })[file.type.split('/')[0]] ?? 'document'

/** Width and height of a picture or film, where the browser can tell. */
async function sizeOf(file, kind) {
  if (kind === 'image') {
    const picture = await createImageBitmap(file).catch(() => null)
    return picture ? { width: picture.width, height: picture.height } : {}
  }
  if (kind !== 'video') return {}
  const film = document.createElement('video')
  film.src = URL.createObjectURL(file)
  await new Promise(resolve => { film.onloadedmetadata = film.onerror = resolve })
  URL.revokeObjectURL(film.src)
  return film.videoWidth ? { width: film.videoWidth, height: film.videoHeight, duration: Math.round(film.duration) } : {}
}

/** The place to write in; `to()` names the open chat. */
export class Composer {
  constructor(place, api, to) {
    Object.assign(this, { api, to, reply: null, editing: null, file: null, sticker: false, recording: null, typedAt: 0 })
    this.text = make('textarea', { rows: 1, 'aria-label': 'Message', placeholder: 'Message', dir: 'auto', enterkeyhint: 'send' })
    this.picker = make('input', { type: 'file', hidden: true, onchange: () => this.take(this.picker.files[0]) })
    this.attach = make('button', { type: 'button', class: 'icon', 'aria-label': 'Attach', title: 'Attach', 'aria-haspopup': 'menu',
      onclick: () => attachments(this) }, icon('attach'))
    this.send = make('button', { class: 'round', 'aria-label': 'Send', title: 'Send' }, icon('send'))
    this.voice = make('button', { type: 'button', class: 'round', 'aria-label': 'Record a voice message', title: 'Record a voice message', onclick: () => this.record() }, icon('microphone'))
    this.about = make('div', { class: 'about', hidden: true })
    this.form = make('form', { class: 'compose' }, this.picker, this.attach, this.text, this.voice, this.send)
    this.form.onsubmit = event => {
      event.preventDefault()
      this.submit()
    }
    this.text.oninput = () => {
      this.grow()
      this.typing('composing')
    }
    this.text.onkeydown = event => {
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
        event.preventDefault()
        this.submit()
      } else if (event.key === 'Escape') this.clear()
    }
    this.text.onpaste = event => {
      const [file] = event.clipboardData.files
      if (file) this.take(file)
    }
    place.replaceChildren(this.about, this.form)
    this.grow()
  }

  grow() {
    this.text.style.height = 'auto'
    this.text.style.height = `${this.text.scrollHeight}px`
    const something = this.text.value.trim() || this.file || this.recording || this.editing?.caption !== undefined
    this.send.hidden = !something
    this.voice.hidden = Boolean(something) || Boolean(this.editing)
  }

  /** Tells the other side that something is being written; dropped if it cannot be told. */
  typing(state) {
    clearTimeout(this.pause)
    if (state === 'paused' ? !this.typedAt : Date.now() - this.typedAt < TYPING_EVERY_MS) {
      if (state !== 'paused') this.pause = setTimeout(() => this.typing('paused'), PAUSE_AFTER_MS)
      return
    }
    this.typedAt = state === 'paused' ? 0 : Date.now()
    if (state !== 'paused') this.pause = setTimeout(() => this.typing('paused'), PAUSE_AFTER_MS)
    this.api.post('typing', { to: this.to(), state }).catch(() => {})
  }

  show(label, content, cancel = () => this.clear()) {
    this.about.hidden = false
    this.about.replaceChildren(make('span', { class: 'what' }, make('b', {}, label), content),
      make('button', { type: 'button', class: 'icon', 'aria-label': `Cancel: ${label}`, onclick: cancel }, icon('close')))
  }

  clear() {
    Object.assign(this, { reply: null, editing: null, file: null, sticker: false, once: null, asVoice: null })
    this.recording?.drop()
    this.recording = null
    this.picker.value = ''
    this.about.hidden = true
    this.about.replaceChildren()
    this.text.hidden = this.attach.hidden = false
    this.grow()
  }

  answer(message) {
    this.clear()
    this.reply = message.id
    this.show('Reply', make('span', { dir: 'auto' }, summary(message)))
    this.text.focus()
  }

  /** Whether the text under a file may be another one, also where there is none yet. */
  captions(message) {
    return CAPTIONED.has(message.kind) && !message.view_once
  }

  edit(message) {
    this.clear()
    this.editing = this.captions(message) ? { id: message.id, caption: message.caption ?? '' } : { id: message.id }
    this.text.value = this.editing.caption ?? message.text
    this.show('Edit', make('span', { dir: 'auto' }, summary(message)), () => {
      this.text.value = ''
      this.clear()
    })
    this.grow()
    this.text.focus()
  }

  /** Lets a file be chosen; as a sticker if it is to be one. */
  choose(sticker = false) {
    this.clear()
    this.sticker = sticker
    this.picker.accept = sticker ? 'image/*' : ''
    this.picker.click()
  }

  /** A box to tick: what is sent can be opened once only. */
  onceBox() {
    this.once = make('input', { type: 'checkbox' })
    return make('label', {}, this.once, ' to be opened once')
  }

  take(file) {
    if (!file) return
    this.file = file
    const kind = this.sticker ? 'sticker' : kindOf(file)
    const content = [make('span', {}, `${file.name} · ${fileSize(file.size)}`)]
    if (kind === 'audio') {
      this.asVoice = make('input', { type: 'checkbox' })
      content.push(make('label', {}, this.asVoice, ' as a voice message'))
    }
    if (ONCE.has(kind)) content.push(this.onceBox())
    if (kind === 'image' || kind === 'sticker') {
      const preview = make('img', { src: URL.createObjectURL(file), alt: '' })
      preview.onload = preview.onerror = () => URL.revokeObjectURL(preview.src)
      content.unshift(preview)
    }
    this.show(kind === 'sticker' ? 'Sticker' : 'Send', content)
    this.grow()
    this.text.focus()
  }

  async record() {
    await attempt(async () => {
      this.recording = await Recording.start()
      const time = make('span', { role: 'timer' }, '0:00')
      this.recording.tick = seconds => { time.textContent = duration(seconds) }
      this.show('Recording', [time, this.onceBox()])
      this.text.hidden = this.attach.hidden = true
      this.typing('recording')
      this.grow()
    })
  }

  async submit() {
    const to = this.to()
    const text = this.text.value.trim()
    if (this.send.disabled || this.send.hidden) return
    this.send.disabled = true
    const done = await attempt(async () => {
      const { reply, editing, file } = this
      const reference = reply ? { reply_to: reply } : {}
      if (editing) return this.api.post('edits', { to, message: editing.id, text })
      let rest = text
      if (this.recording || file) {
        const fields = this.recording ? await this.voiceFields(await this.recording.stop()) : await this.fileFields(file)
        if (this.once?.checked && ONCE.has(fields.kind)) fields.view_once = true
        if (text && CAPTIONED.has(fields.kind)) {
          fields.caption = text
          rest = ''
        }
        await this.api.post('messages', { to, ...fields, ...reference })
      }
      if (rest) await this.api.post('messages', { to, kind: 'text', text: rest, ...file ? {} : reference })
    })
    this.send.disabled = false
    if (!done) return this.grow()
    this.text.value = ''
    this.typing('paused')
    this.clear()
    this.text.focus()
  }

  async voiceFields({ blob, seconds, waveform }) {
    const upload = await this.api.upload('voice', blob)
    return { kind: 'voice', upload, mimetype: blob.type, duration: Math.max(1, Math.round(seconds)), waveform }
  }

  async fileFields(file) {
    if (this.sticker) return this.stickerFields(file)
    const kind = kindOf(file)
    if (kind === 'audio' && this.asVoice?.checked) return this.voiceFields(await voiceFrom(file))
    const upload = await this.api.upload(kind, file)
    return { kind, upload, mimetype: file.type || 'application/octet-stream', file_name: file.name, ...await sizeOf(file, kind) }
  }

  /** A picture as a sticker: square, small, and WebP where the browser can write it. */
  async stickerFields(file) {
    const picture = await createImageBitmap(file).catch(() => {
      throw new Refusal('This file holds no picture that the browser can read.', 'Choose a WebP, PNG or JPEG file.')
    })
    const canvas = make('canvas', { width: STICKER, height: STICKER })
    const scale = STICKER / Math.max(picture.width, picture.height)
    const [width, height] = [picture.width * scale, picture.height * scale]
    canvas.getContext('2d').drawImage(picture, (STICKER - width) / 2, (STICKER - height) / 2, width, height)
    const blob = await new Promise(done => canvas.toBlob(done, 'image/webp'))
    const upload = await this.api.upload('sticker', blob)
    return { kind: 'sticker', upload, mimetype: blob.type, width: STICKER, height: STICKER }
  }
}
