// What can be sent besides text: files and stickers, a place, somebody's card; and how long messages stay.
import { attempt, dialog, make, notNow } from './dom.js'
import { openMenu } from './menu.js'

const TIMERS = [['never', 0], ['after a day', 86_400], ['after a week', 7 * 86_400], ['after 90 days', 90 * 86_400]]

const field = (label, attributes) => make('label', { class: 'setting' }, make('span', {}, label), make('input', { autocomplete: 'off', ...attributes }))

/** Asks for something and sends it, when it was filled in and not put off. */
async function fillIn(title, fields, yes, send) {
  const form = make('form', { method: 'dialog' }, make('h2', {}, title), fields,
    make('p', { class: 'actions' }, notNow(), make('button', { value: 'yes' }, yes)))
  if (await dialog(title, form) === 'yes') await attempt(() => send(form.elements))
}

function place({ api, to }) {
  const degrees = { type: 'number', step: 'any', required: true, inputmode: 'decimal' }
  return fillIn('Send a place', [
    field('Degrees north', { name: 'latitude', min: -90, max: 90, ...degrees }),
    field('Degrees east', { name: 'longitude', min: -180, max: 180, ...degrees }),
    field('What it is called', { name: 'called', type: 'text', maxlength: 200 }),
  ], 'Send', ({ latitude, longitude, called }) => api.post('messages', {
    to: to(), kind: 'location', latitude: latitude.valueAsNumber, longitude: longitude.valueAsNumber,
    ...called.value.trim() ? { name: called.value.trim() } : {},
  }))
}

const card = ({ api, to }) => fillIn('Send a contact', [
  field('Name', { name: 'called', type: 'text', required: true, maxlength: 100 }),
  field('Number', { name: 'phone', type: 'tel', required: true, placeholder: '+4915112345678' }),
], 'Send', ({ called, phone }) => api.post('messages', { to: to(), kind: 'contact', contacts: [{ name: called.value.trim(), phone: phone.value.trim() }] }))

const timer = ({ api, to }) => fillIn('Disappearing messages', make('label', { class: 'setting' }, make('span', {}, 'Messages disappear'),
  make('select', { name: 'after' }, TIMERS.map(([label, seconds]) => make('option', { value: seconds }, label)))),
'Set', ({ after }) => api.post('messages', { to: to(), kind: 'timer', expiration: Number(after.value) }))

/** Opens the menu of what can be sent. */
export function attachments(composer) {
  openMenu(composer.attach, null, {
    label: 'Attach',
    actions: [
      ['Photo, video or file', () => composer.choose()],
      ['Sticker', () => composer.choose(true)],
      ['Place', () => place(composer)],
      ['Contact', () => card(composer)],
      ['Disappearing messages', () => timer(composer)],
    ],
  })
}
