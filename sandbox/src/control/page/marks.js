// The marks in a text: *bold*, _italic_, ~struck~, `code`, ```block```, quotes, lists and links. No HTML is ever read.
import { make } from './dom.js'

const INLINE = /```([\s\S]+?)```|`([^`\n]+)`|(?<![\p{L}\p{N}])([*_~])(?=\S)([^\n]*?\S)\3(?![\p{L}\p{N}])|(https?:\/\/[^\s<>"]+[^\s<>".,;:!?)])/gu
const TAGS = { '*': 'strong', '_': 'em', '~': 's' }

function inline(text) {
  const parts = []
  let end = 0
  for (const found of text.matchAll(INLINE)) {
    const [all, block, code, mark, inner, link] = found
    parts.push(text.slice(end, found.index))
    end = found.index + all.length
    if (block !== undefined) parts.push(make('code', { class: 'block' }, block.replace(/^\n|\n$/g, '')))
    else if (code !== undefined) parts.push(make('code', {}, code))
    else if (mark) parts.push(make(TAGS[mark], {}, inline(inner)))
    else parts.push(make('a', { href: link, target: '_blank', rel: 'noopener noreferrer' }, link))
  }
  parts.push(text.slice(end))
  return parts.filter(part => part !== '')
}

const LINES = [
  [/^> ?/, 'blockquote', lines => lines.map((line, index) => [index ? '\n' : '', inline(line)])],
  [/^[-*] /, 'ul', lines => lines.map(line => make('li', {}, inline(line)))],
]

/** The nodes that show a text. */
export function marked(text) {
  if (text.includes('```')) return inline(text)
  const nodes = []
  const lines = text.split('\n')
  let plain = []
  const flush = () => {
    if (plain.length) nodes.push(...inline(plain.join('\n')))
    plain = []
  }
  for (let at = 0; at < lines.length; at++) {
    const kind = LINES.find(([start]) => start.test(lines[at]))
    if (!kind) {
      plain.push(lines[at])
      continue
    }
    flush()
    const [start, tag, show] = kind
    const block = []
    while (at < lines.length && start.test(lines[at])) block.push(lines[at++].replace(start, ''))
    at--
    nodes.push(make(tag, {}, show(block).flat(2)))
  }
  flush()
  return nodes
}
