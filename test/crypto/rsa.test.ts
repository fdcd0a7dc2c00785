import assert from "node:assert/strict"
import { constants, createHash, generateKeyPairSync, sign, subtle } from "node:crypto"
import { generateRsaKey, isAcceptableRsaKey, publicKeyOf, signPss, spkiPin, verifyPss } from "../../src/crypto/rsa.ts"
import { testKey } from "../support/identities.ts"

const DATA = Buffer.from("what is signed")

describe("RSA keys", () => {
  it("are private, of 3072 bits and exponent 65537 by default", async () => {
    const key = await generateRsaKey()
    assert.equal(key.type, "private")
    assert.equal(key.asymmetricKeyDetails?.modulusLength, 3072)
    assert.equal(key.asymmetricKeyDetails.publicExponent, 65537n)
  })

  it("from outside are refused when weak, costly, of an odd exponent or of another kind", async () => {
    assert.equal(isAcceptableRsaKey(publicKeyOf(await testKey(0))), true)
    const odd = [
      generateKeyPairSync("rsa", { modulusLength: 1024 }),
      generateKeyPairSync("rsa", { modulusLength: 2048, publicExponent: 3 }),
      generateKeyPairSync("rsa-pss", { modulusLength: 2048 }),
      generateKeyPairSync("ec", { namedCurve: "P-256" }),
      generateKeyPairSync("ed25519"),
    ]
    assert.deepEqual(odd.map(({ publicKey }) => isAcceptableRsaKey(publicKey)), [false, false, false, false, false])
  })

  it("have the SHA-256 of their SubjectPublicKeyInfo as pin, whichever half is given", async () => {
    const key = await testKey(0)
    const spki = publicKeyOf(key).export({ type: "spki", format: "der" })
    const expected = `sha256:${createHash("sha256").update(spki).digest("base64url")}`
    assert.equal(spkiPin(key), expected)
    assert.equal(spkiPin(publicKeyOf(key)), expected)
    assert.notEqual(spkiPin(await testKey(1)), expected)
  })
})

describe("RSASSA-PSS with SHA-256 and a salt of 32 bytes, RFC 8017 section 8.1", () => {
  it("verifies what it signed, and never signs twice alike", async () => {
    const key = await testKey(0)
    const [first, second] = [await signPss(key, DATA), await signPss(key, DATA)]
    assert.equal(verifyPss(publicKeyOf(key), DATA, first), true)
    assert.equal(verifyPss(publicKeyOf(key), DATA, second), true)
    assert.notDeepEqual(first, second)
  })

  it("is what WebCrypto calls RSA-PSS with saltLength 32", async () => {
    const key = await testKey(0)
    const spki = publicKeyOf(key).export({ type: "spki", format: "der" })
    const other = await subtle.importKey("spki", spki, { name: "RSA-PSS", hash: "SHA-256" }, false, ["verify"])
    assert.equal(await subtle.verify({ name: "RSA-PSS", saltLength: 32 }, other, await signPss(key, DATA), DATA), true)
  })

  it("refuses other data, another key, every changed byte and every other length", async () => {
    const key = await testKey(0)
    const publicKey = publicKeyOf(key)
    const signature = await signPss(key, DATA)
    assert.equal(verifyPss(publicKey, Buffer.from("what was signed"), signature), false)
    assert.equal(verifyPss(publicKeyOf(await testKey(1)), DATA, signature), false)
    for (let at = 0; at < signature.length; at++) {
      const changed = Buffer.from(signature)
      changed.writeUInt8(changed.readUInt8(at) ^ 1, at)
      assert.equal(verifyPss(publicKey, DATA, changed), false)
      assert.equal(verifyPss(publicKey, DATA, signature.subarray(0, at)), false)
    }
    assert.equal(verifyPss(publicKey, DATA, Buffer.concat([signature, Buffer.of(0)])), false)
  })

  it("refuses signatures of another scheme, salt or hash by the same key", async () => {
    const key = await testKey(0)
    const pss = { key, padding: constants.RSA_PKCS1_PSS_PADDING }
    const others = [
      sign("sha256", DATA, key),
      sign("sha256", DATA, { ...pss, saltLength: 20 }),
      sign("sha256", DATA, { ...pss, saltLength: 0 }),
      sign("sha512", DATA, { ...pss, saltLength: 32 }),
    ]
    assert.deepEqual(others.map((signature) => verifyPss(publicKeyOf(key), DATA, signature)), [false, false, false, false])
  })

  it("refuses keys that are not acceptable, however well they signed", async () => {
    const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 1024 })
    assert.equal(verifyPss(publicKey, DATA, await signPss(privateKey, DATA)), false)
  })
})
