import assert from "node:assert/strict"
import { X509Certificate, generateKeyPairSync } from "node:crypto"
import type { KeyObject } from "node:crypto"
import forge from "node-forge"
import { publicKeyOf } from "../../src/crypto/rsa.ts"
import { createCsr, fromPem, issueLeaf, issueRoot, MAX_CSR_BYTES, parseCertificate, parseCsr, toPem } from "../../src/crypto/x509.ts"
import { START_MS } from "../support/fake-clock.ts"
import { testKey, testSerial } from "../support/identities.ts"

const URI = "spiffe://backup.example/tenant/acme/connector/hq-1"
const MALFORMED = { name: "EkeyError", code: "ERR_CERT_MALFORMED" }

describe("Certificate requests", () => {
  it("carry a public key and one URI, and nothing of the private key", async () => {
    const privateKey = await testKey(0)
    const der = await createCsr({ privateKey, commonName: "hq-1", uri: URI })
    const parsed = await parseCsr(der)
    assert.equal(parsed.uri, URI)
    assert.ok(parsed.publicKey.equals(publicKeyOf(privateKey)))
    assert.equal(parsed.publicKey.type, "public")
  })

  it("of keys from 2048 to 4096 bits fit the size limit", async () => {
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 4096 })
    const der = await createCsr({ privateKey, commonName: "n".repeat(63), uri: `spiffe://${"d".repeat(255)}/tenant/${"t".repeat(63)}/connector/${"n".repeat(63)}` })
    assert.ok(der.length < MAX_CSR_BYTES)
    await parseCsr(der)
  })

  it("are refused when truncated at any length", async () => {
    const der = await createCsr({ privateKey: await testKey(0), commonName: "hq-1", uri: URI })
    for (let length = 0; length < der.length; length++) await assert.rejects(parseCsr(der.subarray(0, length)), MALFORMED, String(length))
  })

  it("are refused when any byte is changed", async () => {
    const der = await createCsr({ privateKey: await testKey(0), commonName: "hq-1", uri: URI })
    for (let at = 0; at < der.length; at++) {
      const changed = Buffer.from(der)
      changed.writeUInt8(changed.readUInt8(at) ^ (1 << (at % 8)), at)
      await assert.rejects(parseCsr(changed), MALFORMED, String(at))
    }
  })

  const uri = { type: 6, value: URI }
  const san = (...altNames: object[]): object => ({ name: "subjectAltName", altNames })
  const requesting = (...extensions: object[]): forge.pki.CertificateField[] => [{ name: "extensionRequest", extensions }]
  const attributeRows: readonly [string, forge.pki.CertificateField[]][] = [
    ["no attributes", []],
    ["no name", requesting(san())],
    ["two URIs", requesting(san(uri, { type: 6, value: `${URI}-2` }))],
    ["the same URI twice", requesting(san(uri, uri))],
    ["a URI and a DNS name", requesting(san(uri, { type: 2, value: "hq.example" }))],
    ["a DNS name", requesting(san({ type: 2, value: "hq.example" }))],
    ["an address", requesting(san({ type: 7, ip: "127.0.0.1" }))],
    ["two extensions of names", requesting(san(uri), san(uri))],
    ["to be an authority too", requesting(san(uri), { name: "basicConstraints", cA: true })],
    ["two sets of extensions", [...requesting(san(uri)), ...requesting(san(uri))]],
    ["a challenge password too", [...requesting(san(uri)), { name: "challengePassword", value: "secret" }]],
  ]
  for (const [name, attributes] of attributeRows) {
    it(`are refused when they ask for ${name}`, async () => {
      await assert.rejects(parseCsr(forgeCsr(await testKey(0), attributes)), MALFORMED)
    })
  }

  it("made by forge alone are accepted, so the rows above fail for their own reason", async () => {
    assert.equal((await parseCsr(forgeCsr(await testKey(0), requesting(san(uri))))).uri, URI)
  })

  it("are refused when signed with SHA-1 or by another key", async () => {
    await assert.rejects(parseCsr(forgeCsr(await testKey(0), requesting(san(uri)), { md: forge.md.sha1.create() })), MALFORMED)
    await assert.rejects(parseCsr(forgeCsr(await testKey(0), requesting(san(uri)), { signer: await testKey(1) })), MALFORMED)
  })

  it("are refused for a weak key, an odd exponent and a key that is not RSA", async () => {
    const weak = generateKeyPairSync("rsa", { modulusLength: 1024 }).privateKey
    await assert.rejects(parseCsr(await createCsr({ privateKey: weak, commonName: "hq-1", uri: URI })), MALFORMED)
    const odd = generateKeyPairSync("rsa", { modulusLength: 2048, publicExponent: 3 }).privateKey
    await assert.rejects(parseCsr(await createCsr({ privateKey: odd, commonName: "hq-1", uri: URI })), MALFORMED)
    const spki = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ type: "spki", format: "der" })
    const tree = forge.asn1.fromDer((await createCsr({ privateKey: await testKey(0), commonName: "hq-1", uri: URI })).toString("latin1"))
    child(tree, 0).value = (child(tree, 0).value as forge.asn1.Asn1[]).with(2, forge.asn1.fromDer(spki.toString("latin1")))
    await assert.rejects(parseCsr(Buffer.from(forge.asn1.toDer(tree).getBytes(), "latin1")), MALFORMED)
  })

  it("are refused with bytes behind them, over the limit, as PEM, as JSON and when deeply nested", async () => {
    const der = await createCsr({ privateKey: await testKey(0), commonName: "hq-1", uri: URI })
    const rows = [
      Buffer.concat([der, Buffer.of(0)]),
      Buffer.concat([der, der]),
      Buffer.alloc(MAX_CSR_BYTES + 1, 0x30),
      Buffer.alloc(MAX_CSR_BYTES, 0x30),
      Buffer.from("3080".repeat(1000), "hex"),
      Buffer.from(`-----BEGIN CERTIFICATE REQUEST-----\n${der.toString("base64")}\n-----END CERTIFICATE REQUEST-----\n`),
      Buffer.from('{"__proto__":{}}'),
    ]
    for (const row of rows) await assert.rejects(parseCsr(row), MALFORMED)
  })

  it("are refused in any other encoding than DER", async () => {
    const der = await createCsr({ privateKey: await testKey(0), commonName: "hq-1", uri: URI })
    assert.deepEqual([...der.subarray(0, 2)], [0x30, 0x82])
    // The same content behind a length of three bytes instead of two.
    const longer = Buffer.concat([Buffer.of(0x30, 0x83, 0), der.subarray(2)])
    await assert.rejects(parseCsr(longer), MALFORMED)
  })
})

describe("Certificates", () => {
  const issue = async (): Promise<{ root: Buffer; leaf: Buffer }> => {
    const privateKey = await testKey(0)
    const root = await issueRoot({
      privateKey, commonName: "ekey connector authority", uri: "spiffe://backup.example", serial: testSerial(),
      notBeforeMs: START_MS, notAfterMs: START_MS + 10_000_000,
    })
    const leaf = await issueLeaf({
      issuer: { certificate: root, privateKey }, publicKey: publicKeyOf(await testKey(1)), commonName: "hq-1", uri: URI,
      serial: "4f".repeat(16), notBeforeMs: START_MS + 999, notAfterMs: START_MS + 60_000, usage: "client",
    })
    return { root, leaf }
  }

  it("say what was asked for, as OpenSSL reads them", async () => {
    const { root, leaf } = await issue()
    const certificate = new X509Certificate(leaf)
    assert.equal(certificate.subjectAltName, `URI:${URI}`)
    assert.equal(certificate.subject, "CN=hq-1")
    assert.equal(certificate.issuer, "CN=ekey connector authority")
    assert.equal(certificate.serialNumber, "4F".repeat(16))
    assert.equal(certificate.ca, false)
    assert.deepEqual(certificate.keyUsage, ["1.3.6.1.5.5.7.3.2"])
    assert.equal(certificate.validFromDate.getTime(), START_MS)
    assert.equal(certificate.validToDate.getTime(), START_MS + 60_000)
    assert.ok(certificate.publicKey.equals(publicKeyOf(await testKey(1))))
    assert.ok(certificate.checkIssued(new X509Certificate(root)))
    assert.ok(certificate.verify(publicKeyOf(await testKey(0))))
    assert.equal(certificate.verify(publicKeyOf(await testKey(1))), false)
  })

  it("of a root are signed by themselves and may sign", async () => {
    const root = new X509Certificate((await issue()).root)
    assert.equal(root.ca, true)
    assert.ok(root.verify(root.publicKey))
    assert.ok(root.checkIssued(root))
  })

  it("from outside are one canonical DER certificate of at most 4 KiB, or refused", async () => {
    const { leaf } = await issue()
    assert.ok(parseCertificate(leaf).raw.equals(leaf))
    for (let length = 0; length < leaf.length; length++) assert.throws(() => parseCertificate(leaf.subarray(0, length)), MALFORMED)
    for (const row of [Buffer.concat([leaf, Buffer.of(0)]), Buffer.from(toPem(leaf)), Buffer.alloc(4097), Buffer.from("certificate")]) {
      assert.throws(() => parseCertificate(row), MALFORMED)
    }
  })

  it("go through PEM unchanged, several in one text", async () => {
    const { root, leaf } = await issue()
    assert.deepEqual(fromPem(toPem(root) + toPem(leaf)), [root, leaf])
    assert.deepEqual(fromPem(toPem(leaf).replaceAll("\n", "\r\n")), [leaf])
    assert.equal(new X509Certificate(toPem(leaf)).subject, "CN=hq-1")
  })

  it("in PEM are refused when there is none, or one is none", async () => {
    const { leaf } = await issue()
    assert.throws(() => fromPem(""), MALFORMED)
    assert.throws(() => fromPem("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), MALFORMED)
    assert.throws(() => fromPem(toPem(leaf) + toPem(leaf.subarray(0, 100))), MALFORMED)
  })
})

/** A request as other software might make it, signed in JavaScript. */
function forgeCsr(key: KeyObject, attributes: forge.pki.CertificateField[], options: { md?: forge.md.MessageDigest; signer?: KeyObject } = {}): Buffer {
  const csr = forge.pki.createCertificationRequest()
  csr.publicKey = forge.pki.publicKeyFromPem(publicKeyOf(key).export({ type: "spki", format: "pem" }).toString())
  csr.setSubject([{ name: "commonName", value: "hq-1" }])
  if (attributes.length > 0) csr.setAttributes(attributes)
  const pkcs1 = (options.signer ?? key).export({ type: "pkcs1", format: "pem" }).toString()
  csr.sign(forge.pki.privateKeyFromPem(pkcs1), options.md ?? forge.md.sha256.create())
  return Buffer.from(forge.asn1.toDer(forge.pki.certificationRequestToAsn1(csr)).getBytes(), "latin1")
}

function child(tree: forge.asn1.Asn1, index: number): forge.asn1.Asn1 {
  const found = Array.isArray(tree.value) ? tree.value[index] : undefined
  assert.ok(found)
  return found
}
