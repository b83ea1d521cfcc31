// Baileys' protobufs and padding. Messages are JSON with the schema's own names, bytes in base64.

import { proto } from 'baileys/WAProto/index.js'
import { unpadRandomMax16, writeRandomPadMax16 } from 'baileys/lib/Utils/generics.js'

serve({
  encode: ({ type, message }) => hex(proto[type].encode(proto[type].fromObject(message)).finish()),
  decode: ({ type, message }) =>
    proto[type].toObject(proto[type].decode(bytes(message)), { bytes: String, longs: String, enums: String }),
  pad: ({ content }) => hex(writeRandomPadMax16(bytes(content))),
  unpad: ({ content }) => hex(unpadRandomMax16(bytes(content)))
})
