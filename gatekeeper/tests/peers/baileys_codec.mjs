// Baileys' stanza codec. Nodes are {"tag", "attrs", "content"}; content is absent, {"nodes": [..]},
// {"bytes": hex} or {"text": ..}.

import { decodeBinaryNode, encodeBinaryNode } from 'baileys/lib/WABinary/index.js'

const toBaileys = ({ tag, attrs, content }) => ({
  tag,
  attrs,
  content: content?.nodes?.map(toBaileys) ?? (content?.bytes !== undefined ? bytes(content.bytes) : content?.text)
})

const fromBaileys = ({ tag, attrs, content }) => ({ tag, attrs, content: contentOf(content) })

function contentOf(content) {
  if (content === undefined || content === null) return undefined
  if (Array.isArray(content)) return content.length ? { nodes: content.map(fromBaileys) } : undefined
  return typeof content === 'string' ? { text: content } : { bytes: hex(content) }
}

serve({
  encode: ({ node }) => hex(encodeBinaryNode(toBaileys(node))),
  decode: async ({ stanza }) => fromBaileys(await decodeBinaryNode(bytes(stanza)))
})
