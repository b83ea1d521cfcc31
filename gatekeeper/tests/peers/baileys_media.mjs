// Baileys' files: encrypted and decrypted by its own streams, and whole messages as it makes them.
// Buffers in the content of a message are {"hex": ..}.

import { readFile, unlink } from 'node:fs/promises'
import { createServer } from 'node:http'
import { proto } from 'baileys/WAProto/index.js'
import { generateWAMessage } from 'baileys/lib/Utils/messages.js'
import { downloadContentFromMessage, encryptedStream } from 'baileys/lib/Utils/messages-media.js'

const quiet = { level: 'silent', child: () => quiet, trace() {}, debug() {}, info() {}, warn() {}, error() {} }
const ME = '4915112345678@s.whatsapp.net'

// What a media server has, by path.
const files = new Map()
const server = createServer((request, response) => {
  const file = files.get(request.url)
  response.writeHead(file ? 200 : 404)
  response.end(file)
})
await new Promise(done => server.listen(0, '127.0.0.1', done))
server.unref()
const base = `http://127.0.0.1:${server.address().port}`

const revive = (_, value) => (typeof value?.hex === 'string' ? bytes(value.hex) : value)

serve({
  async encrypt({ plain, type }) {
    const { mediaKey, encFilePath, fileEncSha256, fileSha256, fileLength } = await encryptedStream(bytes(plain), type)
    const encrypted = await readFile(encFilePath)
    await unlink(encFilePath)
    return {
      key: hex(mediaKey), encrypted: hex(encrypted), sha256: hex(fileSha256), enc_sha256: hex(fileEncSha256),
      length: fileLength
    }
  },

  async decrypt({ encrypted, key, type }) {
    files.set('/file', bytes(encrypted))
    const stream = await downloadContentFromMessage({ mediaKey: bytes(key), url: `${base}/file` }, type)
    const chunks = []
    for await (const chunk of stream) chunks.push(chunk)
    return hex(Buffer.concat(chunks))
  },

  async make({ to, content, quoted, expiration }) {
    let uploaded = null
    const upload = async (path, { mediaType }) => {
      uploaded = hex(await readFile(path))
      return { mediaUrl: `https://mmg.whatsapp.net/v/t/${mediaType}?x=1`, directPath: `/v/t/${mediaType}?x=1` }
    }
    const options = { logger: quiet, userJid: ME, upload, ephemeralExpiration: expiration }
    if (quoted) {
      const { key, message } = quoted
      options.quoted = proto.WebMessageInfo.fromObject({ key, message: proto.Message.decode(bytes(message)) })
    }
    const { message } = await generateWAMessage(to, JSON.parse(JSON.stringify(content), revive), options)
    return { message: hex(proto.Message.encode(message).finish()), uploaded }
  },

  decode: ({ message }) =>
    proto.Message.toObject(proto.Message.decode(bytes(message)), { bytes: String, longs: String, enums: String })
})
