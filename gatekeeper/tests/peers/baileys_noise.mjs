// Baileys' Noise client. `start` gives the first bytes of the connection, `hello` takes the server's
// and gives the next ones; then `send` and `receive` stanzas of a tag and an id. `verify` says of a
// certificate chain which signatures are good: Baileys takes any in the handshake.

import curve from 'libsignal/src/curve.js'
import { proto } from 'baileys/WAProto/index.js'
import { NOISE_WA_HEADER, WA_CERT_DETAILS } from 'baileys/lib/Defaults/index.js'
import { Curve } from 'baileys/lib/Utils/crypto.js'
import { makeNoiseHandler } from 'baileys/lib/Utils/noise-handler.js'
import { encodeBinaryNode } from 'baileys/lib/WABinary/index.js'

const quiet = { level: 'silent', child: () => quiet, trace() {}, debug() {}, info() {}, warn() {}, error() {} }
const noiseKey = Curve.generateKeyPair()
let noise

const signed = (key, { details, signature }) =>
  curve.verifySignature(Buffer.concat([Buffer.from([5]), key]), details, Buffer.from(signature))

serve({
  verify({ root, chain }) {
    const { leaf, intermediate } = proto.CertChain.decode(bytes(chain))
    const { key } = proto.CertChain.NoiseCertificate.Details.decode(intermediate.details)
    return { intermediate: signed(bytes(root), intermediate), leaf: signed(key, leaf) }
  },

  start({ root, routing }) {
    WA_CERT_DETAILS.PUBLIC_KEY = bytes(root)
    const keyPair = Curve.generateKeyPair()
    const routingInfo = routing === null ? undefined : bytes(routing)
    noise = makeNoiseHandler({ keyPair, NOISE_HEADER: NOISE_WA_HEADER, logger: quiet, routingInfo })
    const hello = proto.HandshakeMessage.encode({ clientHello: { ephemeral: keyPair.public } }).finish()
    return { static: hex(noiseKey.public), frame: hex(noise.encodeFrame(hello)) }
  },

  async hello({ stream, payload }) {
    let serverHello
    await noise.decodeFrame(bytes(stream), frame => { serverHello = frame })
    const key = noise.processHandshake(proto.HandshakeMessage.decode(serverHello), noiseKey)
    const finish = { clientFinish: { static: key, payload: noise.encrypt(bytes(payload)) } }
    const frame = noise.encodeFrame(proto.HandshakeMessage.encode(finish).finish())
    await noise.finishInit()
    return hex(frame)
  },

  send: ({ tag, id }) => hex(noise.encodeFrame(encodeBinaryNode({ tag, attrs: { id } }))),

  async receive({ stream }) {
    const nodes = []
    await noise.decodeFrame(bytes(stream), node => nodes.push({ tag: node.tag, id: node.attrs.id }))
    return nodes
  }
})
