// npm `libsignal`, which Baileys encrypts with: one user and its session with one peer. State is
// stored as text after each call that succeeds, as a client with a database does it. Public keys go
// over the line without their type byte.

import libsignal from 'libsignal'

const { curve, keyhelper, ProtocolAddress, SessionBuilder, SessionCipher, SessionRecord } = libsignal
const peer = new ProtocolAddress('peer', 0)
const typed = key => Buffer.concat([Buffer.from([5]), bytes(key)])
const raw = key => hex(key.subarray(1))

const identity = keyhelper.generateIdentityKeyPair()
const registrationId = keyhelper.generateRegistrationId()
const signed = keyhelper.generateSignedPreKey(identity, 21)
const prekeys = new Map([[500, keyhelper.generatePreKey(500).keyPair]])
let session

const store = {
  loadSession: async () => session && SessionRecord.deserialize(JSON.parse(session)),
  storeSession: async (_, record) => { session = JSON.stringify(record.serialize()) },
  isTrustedIdentity: async () => true,
  loadPreKey: async id => prekeys.get(id),
  removePreKey: async id => { prekeys.delete(id) },
  loadSignedPreKey: async id => (id === 21 ? signed.keyPair : undefined),
  getOurIdentity: async () => identity,
  getOurRegistrationId: async () => registrationId
}
const cipher = new SessionCipher(store, peer)

serve({
  bundle: () => ({
    registration_id: registrationId,
    identity: raw(identity.pubKey),
    signed_prekey: { id: 21, public: raw(signed.keyPair.pubKey), signature: hex(signed.signature) },
    prekey: { id: 500, public: raw(prekeys.get(500).pubKey) }
  }),

  prekeys: () => [...prekeys.keys()],

  verify: ({ bundle: { identity, signed_prekey: { public: key, signature } } }) =>
    curve.verifySignature(typed(identity), typed(key), bytes(signature)),

  establish: ({ bundle }) => new SessionBuilder(store, peer).initOutgoing({
    registrationId: bundle.registration_id,
    identityKey: typed(bundle.identity),
    signedPreKey: {
      keyId: bundle.signed_prekey.id,
      publicKey: typed(bundle.signed_prekey.public),
      signature: bytes(bundle.signed_prekey.signature)
    },
    preKey: bundle.prekey ? { keyId: bundle.prekey.id, publicKey: typed(bundle.prekey.public) } : undefined
  }),

  async encrypt({ text }) {
    const { type, body } = await cipher.encrypt(Buffer.from(text))
    return { kind: type === 3 ? 'pkmsg' : 'msg', bytes: hex(body) }
  },

  async decrypt({ kind, message }) {
    const decrypt = kind === 'pkmsg' ? 'decryptPreKeyWhisperMessage' : 'decryptWhisperMessage'
    return (await cipher[decrypt](bytes(message))).toString()
  }
})
