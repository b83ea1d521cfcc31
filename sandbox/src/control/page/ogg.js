// Puts Opus packets from WebM, in which some browsers record, into Ogg (RFC 7845), which phones send and play.

const ID = { segment: 0x18538067, tracks: 0x1654ae6b, entry: 0xae, codecPrivate: 0x63a2, cluster: 0x1f43b675, simpleBlock: 0xa3, group: 0xa0, block: 0xa1 }
const INSIDE = new Set([ID.segment, ID.tracks, ID.entry, ID.cluster, ID.group])
const MOST_PACKETS = 50

/** A variable-length number; with `keep`, the length marker stays in it (as in an element's id). */
function number(bytes, at, keep) {
  const length = Math.clz32(bytes[at]) - 23
  let value = keep ? bytes[at] : bytes[at] & (0xff >> length)
  let unknown = !keep && value === 0xff >> length
  for (let index = 1; index < length; index++) {
    value = value * 256 + bytes[at + index]
    unknown &&= bytes[at + index] === 0xff
  }
  return { value: unknown ? Infinity : value, next: at + length }
}

function* elements(bytes, start = 0, end = bytes.length) {
  for (let at = start; at < end;) {
    const id = number(bytes, at, true)
    const size = number(bytes, id.next, false)
    const stop = Math.min(end, size.next + size.value)
    if (INSIDE.has(id.value)) {
      // A cluster of unknown length ends where the next one begins: its parts are read in line.
      if (size.value === Infinity) { at = size.next; continue }
      yield* elements(bytes, size.next, stop)
    } else yield { id: id.value, data: bytes.subarray(size.next, stop) }
    at = stop
  }
}

/** Samples at 48 kHz in an Opus packet (RFC 6716, section 3.1). */
function samples(packet) {
  const config = packet[0] >> 3
  const frame = config < 12 ? [480, 960, 1920, 2880][config & 3] : config < 16 ? [480, 960][config & 1] : [120, 240, 480, 960][config & 3]
  const count = [1, 2, 2, packet[1] & 63][packet[0] & 3]
  return frame * count
}

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte << 24
  for (let bit = 0; bit < 8; bit++) value = value & 0x80000000 ? value << 1 ^ 0x04c11db7 : value << 1
  return value
})

function page(packets, { granule, sequence, first, last }) {
  const lacing = packets.flatMap(packet => [...Array(Math.floor(packet.length / 255)).fill(255), packet.length % 255])
  const head = 27 + lacing.length
  const bytes = new Uint8Array(head + packets.reduce((sum, packet) => sum + packet.length, 0))
  const view = new DataView(bytes.buffer)
  bytes.set([0x4f, 0x67, 0x67, 0x53, 0, (first ? 2 : 0) | (last ? 4 : 0)])
  view.setBigUint64(6, BigInt(granule), true)
  view.setUint32(14, 1, true)
  view.setUint32(18, sequence, true)
  bytes[26] = lacing.length
  bytes.set(lacing, 27)
  let at = head
  for (const packet of packets) {
    bytes.set(packet, at)
    at += packet.length
  }
  let sum = 0
  for (const byte of bytes) sum = sum << 8 ^ CRC[sum >>> 24 ^ byte]
  view.setUint32(22, sum >>> 0, true)
  return bytes
}

/** Rewraps a WebM recording of one Opus track. */
export function toOgg(webm) {
  const packets = []
  let head = null
  for (const { id, data } of elements(webm)) {
    if (id === ID.codecPrivate) head ??= data
    // Track number, two bytes of time, one of flags.
    else if (id === ID.simpleBlock || id === ID.block) packets.push(data.subarray(number(data, 0, false).next + 3))
  }
  if (!head || !packets.length) throw new Error('the recording holds no Opus sound')
  const comment = new TextEncoder().encode('OpusTags\x07\0\0\0sandbox\0\0\0\0')
  const pages = [page([head], { granule: 0, sequence: 0, first: true }), page([comment], { granule: 0, sequence: 1 })]
  let granule = 0
  for (let at = 0; at < packets.length; at += MOST_PACKETS) {
    const part = packets.slice(at, at + MOST_PACKETS)
    granule += part.reduce((sum, packet) => sum + samples(packet), 0)
    pages.push(page(part, { granule, sequence: pages.length, last: at + MOST_PACKETS >= packets.length }))
  }
  return new Blob(pages)
}
