// Recording a voice message, and making one of a file.
import { Refusal } from './api.js'
import { toOgg } from './ogg.js'
import { measure } from './player.js'

const WAVEFORM = 64

/** A sound as phones send it: Opus in Ogg where it is Opus, with its length and its waveform (64 steps, 0 to 100). */
export async function voiceFrom(blob) {
  const bytes = await blob.arrayBuffer()
  let measured
  try {
    measured = await measure(bytes.slice(0), WAVEFORM)
  } catch {
    throw new Refusal('This file holds no sound that the browser can read.', 'Choose an Ogg, MP3, M4A or WebM file, or send it as a file.')
  }
  const type = blob.type.replace(/;.*/, '')
  const ogg = type === 'audio/webm' ? new Blob([toOgg(new Uint8Array(bytes))], { type: 'audio/ogg; codecs=opus' }) : blob
  return { blob: ogg, seconds: measured.seconds, waveform: measured.waveform.map(each => Math.round(each * 100)) }
}

/** A running recording. */
export class Recording {
  static async start() {
    let stream
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, noiseSuppression: true } })
    } catch (error) {
      const none = error.name === 'NotFoundError'
      throw new Refusal(none ? 'No microphone was found.' : 'The microphone may not be used.',
        none ? 'Connect one, or attach a sound file and send it as a voice message.' : 'Allow it in the browser’s settings of this page, or attach a sound file.')
    }
    const type = ['audio/ogg;codecs=opus', 'audio/webm;codecs=opus', 'audio/mp4'].find(each => MediaRecorder.isTypeSupported(each))
    return new Recording(stream, new MediaRecorder(stream, { mimeType: type, audioBitsPerSecond: 24_000 }))
  }

  constructor(stream, recorder) {
    Object.assign(this, { stream, recorder, parts: [], tick: () => {} })
    const begun = Date.now()
    this.timer = setInterval(() => this.tick((Date.now() - begun) / 1000), 250)
    recorder.ondataavailable = ({ data }) => this.parts.push(data)
    recorder.start()
  }

  async stop() {
    const ended = new Promise(resolve => { this.recorder.onstop = resolve })
    if (this.recorder.state !== 'inactive') {
      this.recorder.stop()
      await ended
    }
    this.drop()
    return voiceFrom(new Blob(this.parts, { type: this.recorder.mimeType }))
  }

  drop() {
    clearInterval(this.timer)
    this.recorder.ondataavailable = this.recorder.state === 'inactive' ? null : this.recorder.ondataavailable
    if (this.recorder.state !== 'inactive') this.recorder.stop()
    for (const track of this.stream.getTracks()) track.stop()
  }
}
