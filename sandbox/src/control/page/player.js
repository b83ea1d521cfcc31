// Plays a voice message or another sound, with its waveform.
import { complain, duration, make } from './dom.js'
import { icon } from './icons.js'

const BARS = 48
let playing = null

/** Nothing is heard any more. */
export const silence = () => playing?.pause()

/** Loudness in `BARS` steps of 0 to 1, from the samples 0 to 100 that a message brings. */
function steps(samples) {
  return Array.from({ length: BARS }, (_, bar) => samples[Math.floor(bar * samples.length / BARS)] / 100)
}

/** The same measured from a sound. */
export async function measure(bytes, bars = BARS) {
  const context = new OfflineAudioContext(1, 1, 48_000)
  const sound = await context.decodeAudioData(bytes)
  const samples = sound.getChannelData(0)
  const width = Math.max(1, Math.floor(samples.length / bars))
  const loudness = Array.from({ length: bars }, (_, bar) => {
    let sum = 0
    for (let at = bar * width; at < (bar + 1) * width && at < samples.length; at++) sum += samples[at] ** 2
    return Math.sqrt(sum / width)
  })
  const loudest = Math.max(...loudness, 0.01)
  return { seconds: sound.duration, waveform: loudness.map(each => each / loudest) }
}

/** A player; `listened` is called once when it begins to play. */
export function player(message, source, listened) {
  const sound = new Audio()
  // Fetched whole when it is wanted: then it can be played from any place.
  let fetched = null
  const fetchIt = () => fetched ??= fetch(source).then(answer => {
    if (!answer.ok) throw new Error(`its file is not there (status ${answer.status})`)
    return answer.blob()
  })
  const name = message.kind === 'voice' ? 'voice message' : message.file_name ?? 'audio'
  const button = make('button', { type: 'button', class: 'round', 'aria-label': `Play ${name}` }, icon('play'))
  const bars = make('span', { class: 'bars', 'aria-hidden': 'true' }, Array.from({ length: BARS }, () => make('i')))
  const seek = make('input', { type: 'range', min: 0, max: 1000, value: 0, 'aria-label': `Position in ${name}` })
  const time = make('span', { class: 'length' }, message.duration ? duration(message.duration) : '0:00')
  const length = () => Number.isFinite(sound.duration) ? sound.duration : message.duration ?? 0

  const draw = heights => heights.forEach((height, bar) => {
    bars.children[bar].style.setProperty('--height', `${Math.round(12 + 88 * height)}%`)
  })
  const progress = () => {
    const part = length() ? Math.min(1, sound.currentTime / length()) : 0
    seek.value = Math.round(part * 1000)
    seek.setAttribute('aria-valuetext', `${duration(sound.currentTime)} of ${duration(length())}`)
    bars.style.setProperty('--played', part)
    for (let bar = 0; bar < BARS; bar++) bars.children[bar].classList.toggle('played', part > 0 && bar / BARS <= part)
    time.textContent = duration(sound.paused && !sound.currentTime ? length() : sound.currentTime)
  }
  const sign = () => {
    button.replaceChildren(icon(sound.paused ? 'play' : 'pause'))
    button.setAttribute('aria-label', `${sound.paused ? 'Play' : 'Pause'} ${name}`)
    progress()
  }

  // Silence from end to end is what clients tell that have not listened.
  if (message.waveform?.some(sample => sample > 0)) draw(steps(message.waveform))
  else if (message.kind === 'voice') {
    fetchIt().then(blob => blob.arrayBuffer()).then(bytes => measure(bytes)).then(({ waveform }) => draw(waveform)).catch(() => draw(Array(BARS).fill(0)))
  } else draw(Array(BARS).fill(0))

  button.onclick = () => {
    if (!sound.paused) return sound.pause()
    playing?.pause()
    playing = sound
    fetchIt().then(blob => {
      if (!sound.src) sound.src = URL.createObjectURL(blob)
      return sound.play()
    }).then(listened).catch(error => {
      fetched = null
      complain(Object.assign(new Error('This sound cannot be played.'), { cure: `The reason: ${error.message}` }))
    })
  }
  seek.oninput = () => {
    if (length()) sound.currentTime = seek.value / 1000 * length()
  }
  for (const event of ['play', 'pause', 'ended']) sound.addEventListener(event, sign)
  for (const event of ['timeupdate', 'loadedmetadata', 'durationchange']) sound.addEventListener(event, progress)
  sound.addEventListener('ended', () => { sound.currentTime = 0 })
  return make('span', { class: 'player' }, button, make('span', { class: 'track' }, bars, seek), time)
}
