import { X509Certificate, createPublicKey, sign, verify } from "node:crypto"
import type { KeyObject } from "node:crypto"
import type forge from "node-forge"
import { z } from "zod"
import { asBuffer } from "../base/bytes.ts"
import { EkeyError } from "../base/errors.ts"
import { isAcceptableRsaKey, publicKeyOf } from "./rsa.ts"

/** A certificate of this protocol takes 1.0 to 1.4 KiB. */
export const MAX_CERTIFICATE_BYTES = 4096
export const MAX_CSR_BYTES = 4096

/** The general name type `uniformResourceIdentifier` of RFC 5280, section 4.2.1.6. */
const URI_NAME = 6
/** AlgorithmIdentifier of sha256WithRSAEncryption with its NULL, DER (RFC 4055, section 5). */
const SHA256_WITH_RSA = Buffer.from("300d06092a864886f70d01010b0500", "hex")

export interface CsrRequest {
  readonly privateKey: KeyObject
  readonly commonName: string
  readonly uri: string
}

export interface ParsedCsr {
  /** RSA, 2048 to 4096 bits, exponent 65537. The requester has proved that it holds the private half. */
  readonly publicKey: KeyObject
  /** The one URI that is asked for; its form is for the caller to judge. */
  readonly uri: string
}

export interface RootRequest {
  readonly privateKey: KeyObject
  readonly commonName: string
  readonly uri: string
  /** 32 hexadecimal digits. */
  readonly serial: string
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

export interface LeafRequest {
  readonly issuer: { readonly certificate: Uint8Array; readonly privateKey: KeyObject }
  readonly publicKey: KeyObject
  readonly commonName: string
  readonly uri: string
  /** 32 hexadecimal digits. */
  readonly serial: string
  /** Whole seconds count: X.509 dates have no fractions. */
  readonly notBeforeMs: number
  readonly notAfterMs: number
  readonly usage: "client" | "server"
}

/** Loaded on first use: most processes never make a certificate. */
async function loadForge(): Promise<typeof forge> {
  return (await import("node-forge")).default
}

/** A PKCS#10 request (RFC 2986) in DER that asks for exactly one URI as subject alternative name. */
export async function createCsr(request: CsrRequest): Promise<Buffer> {
  const { asn1, pki } = await loadForge()
  const csr = pki.createCertificationRequest()
  csr.publicKey = toForgeKey(pki, request.privateKey)
  csr.setSubject([{ name: "commonName", value: request.commonName }])
  csr.setAttributes([{ name: "extensionRequest", extensions: [subjectAltName(request.uri)] }])
  signNatively(csr, request.privateKey)
  return fromBinary(asn1.toDer(pki.certificationRequestToAsn1(csr)).getBytes())
}

/** What a request may ask for: one attribute, in it one extension, in it one URI. Nothing else is read. */
const RequestedAttributes = z.tuple([z.object({
  name: z.literal("extensionRequest"),
  extensions: z.tuple([z.object({
    name: z.literal("subjectAltName"),
    altNames: z.tuple([z.object({ type: z.literal(URI_NAME), value: z.string().min(1).max(1024) })]),
  })]),
})])

/**
 * Reads a request from outside: at most 4 KiB of canonical DER, signed with SHA-256 by its own key.
 * @throws EkeyError ERR_CERT_MALFORMED for everything else, and never anything but that.
 */
export async function parseCsr(der: Uint8Array): Promise<ParsedCsr> {
  const { asn1, pki } = await loadForge()
  if (der.length > MAX_CSR_BYTES) throw malformed("the certificate request is too large")
  try {
    const tree = asn1.fromDer(toBinary(der))
    // One encoding only: what was proved or signed over is exactly what is read here.
    if (!fromBinary(asn1.toDer(tree).getBytes()).equals(der)) throw malformed("the certificate request is not canonical")
    const csr = pki.certificationRequestFromAsn1(tree)
    const [info, algorithm] = children(tree)
    const spki = info && children(info)[2]
    if (!info || !algorithm || !spki) throw malformed("the certificate request is incomplete")
    const publicKey = createPublicKey({ key: fromBinary(asn1.toDer(spki).getBytes()), format: "der", type: "spki" })
    if (!isAcceptableRsaKey(publicKey)) throw malformed("the certificate request's key is not RSA of 2048 to 4096 bits")
    if (!fromBinary(asn1.toDer(algorithm).getBytes()).equals(SHA256_WITH_RSA)) throw malformed("the certificate request's signature algorithm is not accepted")
    const signature = fromBinary(z.string().parse(csr.signature))
    if (!verify("sha256", fromBinary(asn1.toDer(info).getBytes()), publicKey, signature)) {
      throw malformed("the certificate request is not signed by its key")
    }
    const [{ extensions: [{ altNames: [{ value: uri }] }] }] = RequestedAttributes.parse(csr.attributes)
    return { publicKey, uri }
  } catch (cause) {
    if (cause instanceof EkeyError) throw cause
    throw malformed("the certificate request can't be read", cause)
  }
}

/** A self-signed certificate that may sign others directly, and no intermediate ones. */
export async function issueRoot(request: RootRequest): Promise<Buffer> {
  const { asn1, pki } = await loadForge()
  const certificate = pki.createCertificate()
  fill(certificate, request, toForgeKey(pki, request.privateKey))
  certificate.setIssuer([{ name: "commonName", value: request.commonName }])
  certificate.setExtensions([
    { name: "basicConstraints", cA: true, pathLenConstraint: 0, critical: true },
    { name: "keyUsage", keyCertSign: true, cRLSign: true, digitalSignature: true, critical: true },
    { name: "subjectKeyIdentifier" },
    subjectAltName(request.uri),
  ])
  signNatively(certificate, request.privateKey)
  return fromBinary(asn1.toDer(pki.certificateToAsn1(certificate)).getBytes())
}

/** A certificate for one URI, signed directly by a root, that can sign no other. */
export async function issueLeaf(request: LeafRequest): Promise<Buffer> {
  const { asn1, pki } = await loadForge()
  const root = pki.certificateFromAsn1(asn1.fromDer(toBinary(request.issuer.certificate)))
  const certificate = pki.createCertificate()
  fill(certificate, request, toForgeKey(pki, request.publicKey))
  certificate.setIssuer(root.subject.attributes)
  certificate.setExtensions([
    { name: "basicConstraints", cA: false, critical: true },
    { name: "keyUsage", digitalSignature: true, critical: true },
    { name: "extKeyUsage", clientAuth: request.usage === "client", serverAuth: request.usage === "server" },
    { name: "authorityKeyIdentifier", keyIdentifier: root.generateSubjectKeyIdentifier().getBytes() },
    subjectAltName(request.uri),
  ])
  signNatively(certificate, request.issuer.privateKey)
  return fromBinary(asn1.toDer(pki.certificateToAsn1(certificate)).getBytes())
}

function fill(certificate: forge.pki.Certificate, request: Omit<RootRequest, "privateKey">, key: forge.pki.rsa.PublicKey): void {
  certificate.publicKey = key
  certificate.serialNumber = request.serial
  certificate.validity.notBefore = new Date(request.notBeforeMs)
  certificate.validity.notAfter = new Date(request.notAfterMs)
  certificate.setSubject([{ name: "commonName", value: request.commonName }])
}

function subjectAltName(uri: string): { name: string; altNames: { type: number; value: string }[] } {
  return { name: "subjectAltName", altNames: [{ type: URI_NAME, value: uri }] }
}

function toForgeKey(pki: typeof forge.pki, key: KeyObject): forge.pki.rsa.PublicKey {
  return pki.publicKeyFromPem(publicKeyOf(key).export({ type: "spki", format: "pem" }).toString())
}

/**
 * Lets forge build the structure and OpenSSL sign it (RSASSA-PKCS1-v1_5, SHA-256): forge's own
 * signature takes 27 ms of the main thread, this one 1 to 2 ms. Of a key and a digest forge uses no
 * more than these members, whatever its types ask for.
 */
function signNatively(target: forge.pki.Certificate | forge.pki.CertificateSigningRequest, key: KeyObject): void {
  let message = ""
  const digest: unknown = { algorithm: "sha256", update: (bytes: string) => { message += bytes } }
  const signer: unknown = { sign: () => toBinary(sign("sha256", fromBinary(message), key)) }
  // eslint-disable-next-line @typescript-eslint/no-unsafe-type-assertion -- Our own objects, see above.
  target.sign(signer as forge.pki.rsa.PrivateKey, digest as forge.md.MessageDigest)
}

/**
 * Reads one certificate from outside: canonical DER of at most 4 KiB, nothing behind it.
 * @throws EkeyError ERR_CERT_MALFORMED for everything else.
 */
export function parseCertificate(der: Uint8Array): X509Certificate {
  if (der.length > MAX_CERTIFICATE_BYTES) throw malformed("the certificate is too large")
  let certificate: X509Certificate
  try {
    certificate = new X509Certificate(der)
  } catch (cause) {
    throw malformed("the certificate can't be read", cause)
  }
  // Node's constructor also takes PEM, and ignores what follows the certificate.
  if (!certificate.raw.equals(der)) throw malformed("the certificate is not canonical")
  return certificate
}

/** A certificate's PEM block (RFC 7468), with a final newline. */
export function toPem(der: Uint8Array): string {
  const lines = asBuffer(der).toString("base64").match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`
}

const CERTIFICATE_BLOCK = /-----BEGIN CERTIFICATE-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END CERTIFICATE-----/g

/**
 * The DER of every certificate block in a PEM text, in order; other blocks and text are skipped.
 * @throws EkeyError ERR_CERT_MALFORMED if a block is not a certificate, or there is none.
 */
export function fromPem(text: string): Buffer[] {
  const found = [...text.matchAll(CERTIFICATE_BLOCK)].map((match) => Buffer.from(match[1] ?? "", "base64"))
  if (found.length === 0) throw malformed("there is no certificate in the text")
  for (const der of found) parseCertificate(der)
  return found
}

function malformed(message: string, cause?: unknown): EkeyError {
  return new EkeyError("ERR_CERT_MALFORMED", message, cause === undefined ? {} : { cause })
}

function children(tree: forge.asn1.Asn1): forge.asn1.Asn1[] {
  return Array.isArray(tree.value) ? tree.value : []
}

/** Forge keeps bytes as strings of one character each. */
function toBinary(bytes: Uint8Array): string {
  return asBuffer(bytes).toString("latin1")
}

function fromBinary(text: string): Buffer {
  return Buffer.from(text, "latin1")
}
