// The sandbox behind the phone: what goes wrong, what time it is, who is joined.
import { ask } from './api.js'
import { attempt, dialog, duration, make } from './dom.js'
import { icon } from './icons.js'

const CHANCES = [
  ['duplicate', 'Deliver twice'], ['reorder', 'Swap with the next'], ['lose_acks', 'Lose acknowledgements'],
  ['ignore_acks', 'Deliver again what was acknowledged'],
  ['corrupt', 'Damage messages'], ['unknown_extras', 'Add unknown parts'],
]
const STEPS = [['+1 minute', 60], ['+1 hour', 3600], ['+1 day', 86_400], ['+30 days', 30 * 86_400]]
const TOKENS = [['none', 'right'], ['wrong_aud', 'for somebody else'], ['wrong_kid', 'of an unknown key'], ['expired', 'out of date'], ['absent', 'not there']]
const FILES = [
  ['none', 'right'], ['gone', 'gone (410)'], ['missing', 'not found (404)'], ['forbidden', 'forbidden (403)'], ['truncated', 'half of it, as if it were all'],
  ['cut', 'cut off half-way'], ['wrong_mac', 'damaged at its end'], ['too_long', 'one byte too long'], ['wrong_hash', 'announced with another hash'],
  ['wrong_enc_hash', 'announced with another hash of its ciphertext'], ['shorter', 'announced as shorter'], ['longer', 'announced as longer'],
]
const CHOICES = [['push_token', 'Token of pushes', TOKENS], ['proxy_token', 'Token with which partners’ files are fetched', TOKENS], ['media', 'Files of phones', FILES]]

function faultFields(faults) {
  const field = (name, label, attributes) => make('label', { class: 'setting' }, make('span', {}, label),
    make('input', { name, type: 'number', inputmode: 'decimal', value: faults[name] ?? '', ...attributes }))
  const prekeys = make('input', { name: 'prekeys_exhausted', type: 'checkbox' })
  prekeys.checked = faults.prekeys_exhausted
  return [
    CHANCES.map(([name, label]) => field(name, `${label} (0 to 1)`, { min: 0, max: 1, step: 'any', required: true })),
    field('drop_connection_every', 'Cut the connection every … stanzas (0: never)', { min: 0, step: 1, required: true }),
    field('refuse', 'Refuse messages of joined users with code … (0: take them)', { min: 0, max: 999, step: 1, required: true }),
    field('delay_ms', 'Delay each stanza (ms)', { min: 0, step: 1, required: true }),
    field('seed', 'Seed of the dice', { min: 0, step: 1, required: true }),
    make('label', { class: 'setting' }, make('span', {}, 'No one-time prekeys left'), prekeys),
    CHOICES.map(([name, label, values]) => make('label', { class: 'setting' }, make('span', {}, label), make('select', { name },
      values.map(([value, label]) => make('option', { value, selected: value === (faults[name] ?? 'none') }, label))))),
  ]
}

function change(form, faults) {
  const wanted = { prekeys_exhausted: form.prekeys_exhausted.checked }
  for (const [name] of CHOICES) wanted[name] = form[name].value
  for (const input of form.querySelectorAll('input[type=number]')) wanted[input.name] = Number(input.value)
  // A seed that is set again starts the dice again, so only a new one is sent.
  if (wanted.seed === faults.seed) delete wanted.seed
  return wanted
}

async function partners(list) {
  const { partners: all } = await ask('/control/partners')
  const joined = all.flatMap(partner => partner.users).filter(user => user.enlisted)
  list.replaceChildren(...joined.map(user => make('li', { class: 'setting' }, make('span', {}, user.user,
    make('small', {}, `${user.connected ? 'connected' : 'not connected'} · ${user.mailbox} waiting · ${user.prekeys} prekeys`)))))
  if (!joined.length) list.replaceChildren(make('li', { class: 'soft' }, 'Nobody yet.'))
}

export async function openWorkshop() {
  let faults, clock
  if (!await attempt(async () => { [faults, clock] = await Promise.all([ask('/control/faults'), ask('/control/clock')]) })) return
  const time = make('output', {})
  const showTime = ({ now, ahead_seconds: ahead }) => {
    time.textContent = new Date(now * 1000).toLocaleString() + (ahead ? ` (${duration(ahead / 60)} h ahead)` : '')
  }
  showTime(clock)
  const state = make('p', { role: 'status', class: 'soft' })
  const form = make('form', { onsubmit: async event => {
    event.preventDefault()
    await attempt(async () => {
      faults = await ask('/control/faults', change(form, faults))
      state.textContent = 'Set.'
    })
  } }, faultFields(faults), make('p', { class: 'actions' },
    make('button', { type: 'button', class: 'plain', onclick: () => attempt(async () => {
      faults = await ask('/control/faults', { reset: true })
      form.replaceChildren(...[faultFields(faults), form.lastChild].flat(2))
      state.textContent = 'All faults are off.'
    }) }, 'All off'),
    make('button', {}, 'Set')))
  const code = make('input', { type: 'number', value: 515, min: 400, max: 999, step: 1, required: true })
  const ending = make('form', { onsubmit: async event => {
    event.preventDefault()
    await attempt(async () => {
      await ask('/control/faults', { stream_error: code.valueAsNumber })
      state.textContent = 'Every connection was ended once with this error.'
    })
  } }, make('label', { class: 'setting' }, make('span', {}, 'Error with which connections end'), code),
  make('p', { class: 'actions' }, make('button', { class: 'plain' }, 'End all connections')))
  const list = make('ul', { class: 'plain-list' })
  attempt(() => partners(list))
  await dialog('Faults and clock', [
    make('form', { method: 'dialog' }, make('header', {}, make('h2', {}, 'Faults and clock'), make('button', { class: 'icon', 'aria-label': 'Close' }, icon('close')))),
    make('p', { class: 'soft' }, 'These belong to the whole sandbox, not to this phone alone.'),
    make('h3', {}, 'Clock'), make('p', {}, time),
    make('p', { class: 'actions start' }, STEPS.map(([label, seconds]) => make('button', { type: 'button', class: 'plain',
      onclick: () => attempt(async () => showTime(await ask('/control/clock', { advance_seconds: seconds }))) }, label))),
    make('h3', {}, 'What goes wrong'), form, ending, state,
    make('h3', {}, 'Joined users'), list,
  ], 'panel')
}
