// The list of phones.
import { ask, follow } from './api.js'
import { $, attempt, calm, complain, make } from './dom.js'

const show = () => attempt(async () => {
  const phones = await ask('/control/phones')
  $('phones').replaceChildren(...phones.map(({ number, name, chats }) => make('li', {},
    make('a', { class: 'row', href: `/phone/${encodeURIComponent(number)}` },
      make('span', { class: 'what' }, make('b', {}, name || number), make('span', { class: 'last' }, `${number} · ${chats.length} chats`))))))
  if (!phones.length) $('phones').replaceChildren(make('li', { class: 'empty' }, 'No phone yet.'))
})

$('make').onsubmit = event => {
  event.preventDefault()
  const { number, name } = event.target
  attempt(async () => {
    const made = await ask('/control/phones', { number: number.value, name: name.value })
    calm()
    location.assign(`/phone/${encodeURIComponent(made.number)}`)
  })
}

follow({
  happened: name => ['phone', 'message', 'missed'].includes(name) && show(),
  lost: () => complain(Object.assign(new Error('The sandbox does not answer.'), { cure: 'See whether it still runs; this page goes on by itself.' })),
  back() {
    calm()
    show()
  },
})
