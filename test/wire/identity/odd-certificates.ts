import type { KeyObject } from "node:crypto"
import forge from "node-forge"
import { publicKeyOf } from "../../../src/crypto/rsa.ts"
import { START_MS } from "../../support/fake-clock.ts"
import { testSerial } from "../../support/identities.ts"

export interface OddOptions {
  /** General names: type 2 is DNS, 6 a URI. Empty: no extension. */
  readonly names: readonly { readonly type: number; readonly value: string }[]
  readonly ca?: boolean
  /** Default: clientAuth. Empty: no extension. */
  readonly usages?: readonly string[]
}

/** A certificate with a true signature and a content that no authority of ours would sign. */
export function signOdd(root: { certificate: Uint8Array; privateKey: KeyObject }, key: KeyObject, options: OddOptions): Buffer {
  const { asn1, pki } = forge
  const certificate = pki.createCertificate()
  certificate.publicKey = pki.publicKeyFromPem(publicKeyOf(key).export({ type: "spki", format: "pem" }).toString())
  certificate.serialNumber = testSerial()
  certificate.validity.notBefore = new Date(START_MS)
  certificate.validity.notAfter = new Date(START_MS + 60_000)
  certificate.setSubject([{ name: "commonName", value: "odd" }])
  certificate.setIssuer(pki.certificateFromAsn1(asn1.fromDer(Buffer.from(root.certificate).toString("latin1"))).subject.attributes)
  const usages = options.usages ?? ["clientAuth"]
  certificate.setExtensions([
    { name: "basicConstraints", cA: options.ca ?? false, critical: true },
    ...(usages.length > 0 ? [{ name: "extKeyUsage", ...Object.fromEntries(usages.map((usage) => [usage, true])) }] : []),
    ...(options.names.length > 0 ? [{ name: "subjectAltName", altNames: options.names }] : []),
  ])
  certificate.sign(pki.privateKeyFromPem(root.privateKey.export({ type: "pkcs1", format: "pem" }).toString()), forge.md.sha256.create())
  return Buffer.from(asn1.toDer(pki.certificateToAsn1(certificate)).getBytes(), "latin1")
}
