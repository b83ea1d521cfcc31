// The phone's settings.
import { attempt, confirmed, dialog, make, shortName } from './dom.js'
import { icon } from './icons.js'

const WARNINGS = [
  'People who use other apps can find this number and write to it, also people whom you have blocked here.',
  'Messages are end-to-end encrypted up to the other app. What that app does with them follows its own rules, not those of this phone.',
  'Your name and picture are not shown to them. Some things do not work with other apps: calls, groups, status.',
]

/** Turns third-party chats on, after its warnings. */
export async function turnOn(api) {
  if (!await confirmed('Chats with other apps', WARNINGS, 'Turn on')) return false
  return attempt(() => api.post('options', { third_party_chats: true }))
}

function toggle(label, explanation, checked, change) {
  const box = make('input', { type: 'checkbox', role: 'switch' })
  box.checked = checked
  box.onchange = async () => {
    if (!await change(box.checked)) box.checked = !box.checked
  }
  return make('label', { class: 'setting' }, make('span', {}, make('b', {}, label), make('small', {}, explanation)), box)
}

export async function openSettings(api, phone) {
  const set = change => attempt(() => api.post('options', change))
  const { options } = phone
  const inbox = make('select', { onchange: event => set({ combined_inbox: event.target.value === 'combined' }) },
    make('option', { value: 'separate', selected: !options.combined_inbox }, 'in a folder of their own'),
    make('option', { value: 'combined', selected: options.combined_inbox }, 'together with all others'))
  const blocked = make('ul', { class: 'plain-list' }, phone.blocked.map(user => {
    const item = make('li', { class: 'setting' }, make('span', {}, shortName(user), make('small', {}, user)),
      make('button', { type: 'button', class: 'plain', onclick: async () => {
        if (await attempt(() => api.post('block', { to: user, blocked: false }))) item.remove()
      } }, 'Unblock'))
    return item
  }))
  await dialog('Settings', make('form', { method: 'dialog' },
    make('header', {}, make('h2', {}, 'Settings'), make('button', { class: 'icon', 'aria-label': 'Close' }, icon('close'))),
    toggle('Third-party chats', 'People who use other apps can write to this phone', options.third_party_chats,
      on => on ? turnOn(api) : set({ third_party_chats: false })),
    make('label', { class: 'setting' }, make('span', {}, make('b', {}, 'Show them'), make('small', {}, 'A separate inbox, or one for all')), inbox),
    toggle('Delivery receipts', 'Two ticks for the sender, as soon as a message is here', options.auto_receipts, on => set({ auto_receipts: on })),
    toggle('Read at once', 'Messages count as read even while no chat is open', options.auto_read, on => set({ auto_read: on })),
    toggle('Online', 'While it is off, the server keeps what comes', options.online, on => set({ online: on })),
    make('div', { class: 'setting' }, make('span', {}, make('b', {}, 'Reinstall'), make('small', {}, 'The phone gets a new identity key, as after a reinstall')),
      make('button', { type: 'button', class: 'plain', onclick: async event => {
        const button = event.target
        const sure = await confirmed('Give this phone a new identity?', ['Everybody who writes to it is told that its security code has changed.'], 'New identity')
        if (sure && await attempt(() => api.post('identity', {}))) button.textContent = 'Done'
      } }, 'New identity')),
    make('h3', {}, 'Blocked'), phone.blocked.length ? blocked : make('p', { class: 'soft' }, 'Nobody.')), 'panel')
}
