// The control API as the pages use it.

/** A refusal: what is wrong and what to do about it. */
export class Refusal extends Error {
  constructor(cause, cure) {
    super(cause)
    this.cure = cure
  }
}

/** Asks the sandbox; with a body it is a POST. */
export const ask = (path, body) => request(path, body && { method: 'POST', body: JSON.stringify(body) })

async function request(path, options) {
  let answer
  try {
    answer = await fetch(path, options)
  } catch {
    throw new Refusal('The sandbox does not answer.', 'See whether it still runs; this page goes on by itself.')
  }
  const value = await answer.json().catch(() => null)
  if (answer.ok && value !== null) return value
  const sentence = text => text && text[0].toUpperCase() + text.slice(1).replace(/\.?$/, '.')
  throw new Refusal(sentence(value?.error ?? `The sandbox answers with status ${answer.status}`), sentence(value?.cure ?? ''))
}

/** One phone's part of the API. */
export function phoneApi(number) {
  const base = `/control/phones/${encodeURIComponent(number)}`
  return {
    number,
    show: () => ask(base),
    chats: () => ask(`${base}/chats`),
    post: (what, body) => ask(`${base}/${what}`, body),
    messages: (who, last) => ask(`${base}/messages?with=${encodeURIComponent(who)}&last=${last}`),
    media: id => `${base}/media/${encodeURIComponent(id)}`,
    upload: async (kind, file) => (await request(`${base}/uploads?kind=${kind}`, { method: 'PUT', body: file })).upload,
  }
}

/** Users who have joined through a partner. */
export async function users() {
  const { partners } = await ask('/control/partners')
  return partners.flatMap(partner => partner.users).filter(user => user.enlisted)
}

const EVENTS = [
  'message', 'receipt', 'reaction', 'edit', 'revoke', 'decrypted', 'media', 'expired', 'enlisted', 'unenlisted', 'missed', 'typing',
  'identity_changed', 'identity', 'options', 'block', 'phone', 'connected', 'disconnected',
]

/** Tells what happens in the sandbox, as it happens; `lost` when the line breaks, `back` when it stands (again). */
export function follow({ happened, lost, back }) {
  const source = new EventSource('/control/events')
  for (const name of EVENTS) source.addEventListener(name, event => happened(name, JSON.parse(event.data)))
  source.onerror = lost
  source.onopen = back
}
