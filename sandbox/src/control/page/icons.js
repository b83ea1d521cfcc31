// The signs on buttons, drawn as lines of 24 by 24.

const LINES = {
  attach: 'M12 5v14M5 12h14',
  back: 'M15 5l-7 7 7 7',
  clock: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 7v5l3 3',
  close: 'M6 6l12 12M18 6L6 18',
  file: 'M7 3h7l4 4v14H7zM14 3v4h4M10 12h5M10 16h5',
  microphone: 'M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3zM5.5 11a6.5 6.5 0 0 0 13 0M12 17.5V21',
  more: 'M6 12h.01M12 12h.01M18 12h.01',
  person: 'M12 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM5 20a7 7 0 0 1 14 0',
  pause: 'M9 6v12M15 6v12',
  pin: 'M12 21s-6-5.5-6-11a6 6 0 0 1 12 0c0 5.5-6 11-6 11zM12 12a2 2 0 1 0 0-4 2 2 0 0 0 0 4z',
  play: 'M9 6l9 6-9 6z',
  send: 'M5 12l15-7-6 15-3-6z',
  settings: 'M4 7h9M17 7h3M4 17h3M11 17h9M15 5v4M9 15v4',
}

const SVG = 'http://www.w3.org/2000/svg'

/** A sign by its name; people who do not see it read the button's label. */
export function icon(name) {
  const drawing = document.createElementNS(SVG, 'svg')
  drawing.setAttribute('viewBox', '0 0 24 24')
  drawing.setAttribute('aria-hidden', 'true')
  drawing.classList.add('sign', `sign-${name}`)
  const lines = document.createElementNS(SVG, 'path')
  lines.setAttribute('d', LINES[name])
  drawing.append(lines)
  return drawing
}
