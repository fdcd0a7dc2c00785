import { createPublicKey, createSecretKey } from "node:crypto"
import { spkiPin } from "../../../src/crypto/rsa.ts"
import { renewalBytes } from "../../../src/wire/identity/certificate-request.ts"
import { revocationBytes } from "../../../src/wire/identity/revocation.ts"
import { formatToken, proof } from "../../../src/wire/identity/token.ts"
import { hex, testBytes, vectorFile } from "./vector-file.ts"

const NOW_MS = 1_767_225_600_000
const HOUR_MS = 60 * 60_000

/** Its modulus is no product of known primes: it is only ever hashed. */
function testPublicKey(label: string): ReturnType<typeof createPublicKey> {
  const modulus = testBytes(label, 256)
  modulus.writeUInt8(modulus.readUInt8(0) | 0x80, 0)
  modulus.writeUInt8(modulus.readUInt8(255) | 1, 255)
  return createPublicKey({ key: { kty: "RSA", n: modulus.toString("base64url"), e: "AQAB" }, format: "jwk" })
}

export function certificateRequestVectors(): string {
  const secret = testBytes("token secret", 32)
  const csr = testBytes("certificate request", 48)
  const certificate = testBytes("current certificate", 48)
  const keys = { gateway: testPublicKey("gateway root"), connector: testPublicKey("connector root"), worker: testPublicKey("worker root") }
  const pins = { gateway: spkiPin(keys.gateway), connector: spkiPin(keys.connector), worker: spkiPin(keys.worker) }
  const identity = { trustDomain: "backup.example", role: "worker", tenant: "acme", name: "w-1" } as const
  const id = testBytes("token id", 16).toString("base64url")
  const text = formatToken({ id, secret: createSecretKey(secret), identity, expiresAtMs: NOW_MS + HOUR_MS, pins })
  const members = [{ tenant: "acme", name: "w-1" }, { tenant: null, name: "gw-1" }]
  return vectorFile("section 6", {
    note: "csr and certificate are any bytes here: the encodings don't look into them.",
    pins: Object.entries(keys).map(([role, key]) => ({ role, spki: hex(key.export({ type: "spki", format: "der" })), pin: spkiPin(key) })),
    tokens: [{ text, id, secret: hex(secret), ...identity, expiresAtMs: NOW_MS + HOUR_MS, pins }],
    enrolments: members.map(({ tenant, name }) => ({
      secret: hex(secret), csr: hex(csr), tenant, name, proof: hex(proof(createSecretKey(secret), csr, tenant, name)),
    })),
    renewals: [{ csr: hex(csr), certificate: hex(certificate), issuedAtMs: NOW_MS, signedBytes: hex(renewalBytes(csr, certificate, NOW_MS)) }],
  })
}

export function revocationVectors(): string {
  const life = { issuedAtMs: NOW_MS, nextUpdateMs: NOW_MS + 24 * HOUR_MS }
  const serials = ["one", "two", "three"].map((label) => hex(testBytes(label, 16))).sort()
  const lists = [
    { role: "worker", number: 1_767_225_600, ...life, serials },
    { role: "gateway", number: 1, ...life, serials: [] },
  ] as const
  return vectorFile("section 4.3", { vectors: lists.map((list) => ({ ...list, serials: [...list.serials], signedBytes: hex(revocationBytes({ ...list, serials: [...list.serials] })) })) })
}
