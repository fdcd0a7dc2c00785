import assert from "node:assert/strict"
import { createHash } from "node:crypto"
import { deriveSessionKeys, encodeOffer, encodeTranscript } from "../../src/crypto/session-keys.ts"
import type { SessionAnswer, SessionKeys, SessionOffer } from "../../src/crypto/session-keys.ts"
import { flipBit } from "../support/bits.ts"

// Vectors of the whole handshake, our own, are in test/vectors/session.json.

const OFFER: SessionOffer = { workerCertificate: Buffer.alloc(40, 1), kemPublicKey: Buffer.alloc(32, 2), nonce: Buffer.alloc(16, 3), issuedAtMs: 1_767_225_600_000 }
const ANSWER: SessionAnswer = { session: Buffer.alloc(16, 4), certificate: Buffer.alloc(40, 5), encapsulatedKey: Buffer.alloc(32, 6), expiresAtMs: 1_767_229_200_000 }
const SIGNATURE = Buffer.alloc(256, 7)

/** Stands in for HPKE: 64 bytes that depend on the context. */
const exporter = async (context: Uint8Array, length: number): Promise<Uint8Array> => {
  assert.equal(length, 64)
  return createHash("sha512").update(context).digest()
}
const derive = async (transcript: Uint8Array): Promise<[string, string]> => exported(await deriveSessionKeys(exporter, transcript))
const exported = ({ requestKey, releaseKey }: SessionKeys): [string, string] => [requestKey.export().toString("hex"), releaseKey.export().toString("hex")]

describe("The session offer", () => {
  it("changes with every field", () => {
    const offers: SessionOffer[] = [
      OFFER,
      { ...OFFER, workerCertificate: Buffer.alloc(40, 9) },
      { ...OFFER, kemPublicKey: Buffer.alloc(32, 9) },
      { ...OFFER, nonce: Buffer.alloc(16, 9) },
      { ...OFFER, issuedAtMs: OFFER.issuedAtMs + 1 },
      // A byte that moves from one field to the next.
      { ...OFFER, workerCertificate: Buffer.concat([OFFER.workerCertificate, Buffer.of(2)]), kemPublicKey: OFFER.kemPublicKey.subarray(1) },
    ]
    assert.equal(new Set(offers.map((offer) => encodeOffer(offer).toString("hex"))).size, offers.length)
  })
})

describe("The session transcript", () => {
  const offer = encodeOffer(OFFER)
  const transcript = encodeTranscript(offer, SIGNATURE, ANSWER)

  it("changes with every field of the answer, the offer and the worker's signature", () => {
    const transcripts = [
      transcript,
      encodeTranscript(encodeOffer({ ...OFFER, issuedAtMs: 0 }), SIGNATURE, ANSWER),
      encodeTranscript(offer, flipBit(SIGNATURE, 0), ANSWER),
      encodeTranscript(offer, SIGNATURE, { ...ANSWER, session: Buffer.alloc(16, 9) }),
      encodeTranscript(offer, SIGNATURE, { ...ANSWER, certificate: Buffer.alloc(40, 9) }),
      encodeTranscript(offer, SIGNATURE, { ...ANSWER, encapsulatedKey: Buffer.alloc(32, 9) }),
      encodeTranscript(offer, SIGNATURE, { ...ANSWER, expiresAtMs: ANSWER.expiresAtMs + 1 }),
    ]
    assert.equal(new Set(transcripts.map((bytes) => bytes.toString("hex"))).size, transcripts.length)
  })

  it("can't be taken for an offer", () => {
    assert.notDeepEqual(transcript.subarray(0, 30), offer.subarray(0, 30))
  })

  it("gives other keys for every changed bit", async () => {
    const own = await derive(transcript)
    for (let bit = 0; bit < transcript.length * 8; bit++) {
      const [requestKey, releaseKey] = await derive(flipBit(transcript, bit))
      assert.notEqual(requestKey, own[0])
      assert.notEqual(releaseKey, own[1])
    }
  })

  it("gives other keys when it is cut off or longer", async () => {
    const own = await derive(transcript)
    for (const other of [transcript.subarray(1), transcript.subarray(0, -1), Buffer.concat([transcript, Buffer.alloc(1)])]) {
      assert.notDeepEqual(await derive(other), own)
    }
  })
})

describe("Session keys", () => {
  it("are two, of 32 bytes each", async () => {
    const [requestKey, releaseKey] = await derive(Buffer.from("transcript"))
    assert.equal(requestKey.length, 64)
    assert.equal(releaseKey.length, 64)
    assert.notEqual(requestKey, releaseKey)
  })

  it("leave the exported bytes overwritten", async () => {
    const bytes = Buffer.alloc(64, 8)
    const keys = await deriveSessionKeys(async () => bytes, Buffer.from("transcript"))
    assert.deepEqual(bytes, Buffer.alloc(64))
    assert.deepEqual(exported(keys), ["08".repeat(32), "08".repeat(32)])
  })
})
