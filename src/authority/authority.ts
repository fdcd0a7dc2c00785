import { timingSafeEqual } from "node:crypto"
import type { KeyObject } from "node:crypto"
import { fromBase64url, toBase64url } from "../base/bytes.ts"
import type { Clock } from "../base/clock.ts"
import { codeOf, describeError, EkeyError } from "../base/errors.ts"
import type { Logger } from "../base/logger.ts"
import { spkiPin, verifyPss } from "../crypto/rsa.ts"
import { issueLeaf, parseCertificate, parseCsr } from "../crypto/x509.ts"
import { renewalBytes } from "../wire/identity/certificate-request.ts"
import { formatSpiffeId } from "../wire/identity/spiffe.ts"
import type { Identity, Role } from "../wire/identity/spiffe.ts"
import { proof } from "../wire/identity/token.ts"
import { createTrust } from "../wire/identity/trust.ts"
import type { Trust } from "../wire/identity/trust.ts"
import { verifyPeer } from "../wire/identity/verification.ts"
import { MAX_CLOCK_SKEW_MS } from "../wire/limits.ts"
import type { CertificateEnrolParams, CertificateEnrolResult, CertificateRenewParams, CertificateRenewResult, RevocationList } from "../wire/messages/certificate.ts"
import { IssuedRecords } from "./issued.ts"
import type { IssuedRecord } from "./issued.ts"
import { RevocationSigner, RevokedSerials } from "./revocations.ts"
import { BACKDATE_MS, newSerial, openRoot, readPublishedRoots } from "./root.ts"
import type { AuthorityPlace, AuthorityRoot } from "./root.ts"
import { TokenStore } from "./tokens.ts"
import type { KnownToken } from "./tokens.ts"
import { createTurns } from "./turns.ts"

const DAY_MS = 24 * 60 * 60_000

/** How long a certificate of each role lives. */
export const CERTIFICATE_LIFE_MS: Readonly<Record<Role, number>> = { gateway: 30 * DAY_MS, connector: 30 * DAY_MS, worker: DAY_MS }

/** Unexpired certificates of one name, so that a peer that renews in a loop can't fill the disk. */
const MAX_LIVE_CERTIFICATES = 32

export interface AuthorityOptions extends AuthorityPlace {
  readonly clock: Pick<Clock, "now">
  readonly log: Logger
  /** Of a root that is made now. Default: 3072. */
  readonly rsaBits?: number
}

/** Signs certificates of one role. Everything that it is asked comes through a gateway, and is proved or refused. */
export interface Authority {
  readonly role: Role
  /** The root's SPKI pin, for the admin to publish. */
  readonly pin: string
  /** @throws EkeyError ERR_TOKEN, the same for every reason; the log has the reason. */
  enrol(params: CertificateEnrolParams): Promise<CertificateEnrolResult>
  /** @throws EkeyError ERR_CERT_…, ERR_SIGNATURE, ERR_REPLAY, or ERR_OVERLOADED for too many certificates of one name. */
  renew(params: CertificateRenewParams): Promise<CertificateRenewResult>
  /** The signed list of what is revoked at this moment. */
  revocationList(): Promise<RevocationList>
}

/**
 * Opens the authority's folder, and makes its root at the very first start. One process at a time
 * runs an authority; `admin.ts` works on the same folder meanwhile.
 * @throws EkeyError ERR_AUTHORITY_ROOT
 */
export async function createAuthority(options: AuthorityOptions): Promise<Authority> {
  const root = await openRoot(options, options.clock, options.rsaBits)
  const authority = new RunningAuthority(options, root)
  await authority.dropExpiredTokens()
  return authority
}

class RunningAuthority implements Authority {
  readonly role: Role
  readonly pin: string
  readonly #place: AuthorityPlace
  readonly #root: AuthorityRoot
  readonly #clock: Pick<Clock, "now">
  readonly #log: Logger
  /** Only this authority's own root: whatever else signed a certificate, it can't be renewed here. */
  readonly #trust: Trust
  readonly #tokens: TokenStore
  readonly #issued: IssuedRecords
  readonly #revoked: RevokedSerials
  readonly #signer: RevocationSigner
  /** Records and lists are read, changed and written by one request at a time. */
  readonly #inTurn = createTurns()

  constructor(options: AuthorityOptions, root: AuthorityRoot) {
    const { role, folder, trustDomain, clock, log } = options
    this.role = role
    this.pin = root.pin
    this.#place = { role, folder, trustDomain }
    this.#root = root
    this.#clock = clock
    this.#log = log
    this.#trust = createTrust({ trustDomain, roots: { [role]: [root.certificate.raw] } })
    this.#tokens = new TokenStore(this.#place)
    this.#issued = new IssuedRecords(this.#place)
    this.#revoked = new RevokedSerials(this.#place)
    this.#signer = new RevocationSigner({ place: this.#place, root, clock, revoked: this.#revoked })
  }

  async dropExpiredTokens(): Promise<void> {
    await this.#tokens.dropExpired(this.#clock.now())
  }

  async enrol(params: CertificateEnrolParams): Promise<CertificateEnrolResult> {
    const roots = await this.#publishedRoots() // Before the token is used up.
    const { token, publicKey } = await this.#checkEnrolment(params)
    const publicKeyPin = spkiPin(publicKey)
    if (await this.#tokens.use(token.id, publicKeyPin) !== publicKeyPin) throw this.#refuseToken("used for another key", params, token)
    return await this.#inTurn(async () => {
      const records = await this.#issued.of(token.identity)
      const known = records.find(({ basis }) => "tokenId" in basis && basis.tokenId === token.id)
      const record = known ?? await this.#issue(token.identity, publicKey, { tokenId: token.id })
      // A command may have revoked the name meanwhile: it removes tokens first and reads records then.
      if (!await this.#tokens.read(token.id)) {
        await this.#revoked.add(record.serial, record.notAfterMs, this.#clock.now())
        throw this.#refuseToken("cancelled", params, token)
      }
      if (await this.#revoked.has(record.serial)) throw this.#refuseToken("its certificate is revoked", params, token)
      this.#logIssued(known ? "certificate enrolled again" : "certificate enrolled", token.identity, record)
      return { certificate: record.certificate, roots }
    })
  }

  async renew(params: CertificateRenewParams): Promise<CertificateRenewResult> {
    const roots = await this.#publishedRoots()
    return await this.#inTurn(async () => {
      let identity: Identity | undefined
      try {
        const renewal = await this.#checkRenewal(params)
        identity = renewal.identity
        const record = renewal.known ?? await this.#issue(identity, renewal.publicKey, { renews: renewal.serial })
        // Once more, now that the record is there: a command revokes first and reads records then.
        await this.#assertNotRevoked(renewal.serial, record)
        this.#logIssued(renewal.known ? "certificate renewed again" : "certificate renewed", identity, record)
        return { certificate: record.certificate, roots }
      } catch (error) {
        this.#log.warn("certificate renewal refused", { role: this.role, tenant: identity?.tenant, name: identity?.name, ...describeError(error) })
        throw error
      }
    })
  }

  async revocationList(): Promise<RevocationList> {
    return await this.#inTurn(async () => {
      const { list, fresh } = await this.#signer.current()
      if (fresh) this.#log.info("revocation list signed", { role: this.role, number: list.number, serials: list.serials.length })
      return list
    })
  }

  /** The proof comes before the request is parsed: a stranger's bytes get no further than an HMAC. */
  async #checkEnrolment(params: CertificateEnrolParams): Promise<{ token: KnownToken; publicKey: KeyObject }> {
    if (params.role !== this.role) throw this.#refuseToken("for another role", params)
    const token = await this.#tokens.read(params.tokenId)
    if (!token) throw this.#refuseToken("unknown", params)
    if (this.#clock.now() >= token.expiresAtMs) throw this.#refuseToken("expired", params, token)
    const csr = fromBase64url(params.csr)
    const given = fromBase64url(params.proof)
    if (!csr || !given) throw this.#refuseToken("malformed", params, token)
    const expected = proof(token.secret, csr, token.identity.tenant, token.identity.name)
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw this.#refuseToken("wrong proof", params, token)
    const request = await this.#parseRequest(csr, params, token)
    if (request.uri !== formatSpiffeId(token.identity)) throw this.#refuseToken("for another identity", params, token)
    return { token, publicKey: request.publicKey }
  }

  async #parseRequest(csr: Uint8Array, params: CertificateEnrolParams, token: KnownToken): ReturnType<typeof parseCsr> {
    try {
      return await parseCsr(csr)
    } catch (cause) {
      throw this.#refuseToken("malformed request", params, token, cause)
    }
  }

  async #checkRenewal(params: CertificateRenewParams): Promise<{ identity: Identity; serial: string; publicKey: KeyObject; known: IssuedRecord | undefined }> {
    if (params.role !== this.role) throw new EkeyError("ERR_CERT_ROLE", "this authority does not vouch for that role")
    const certificateDer = decode(params.certificate)
    const csr = decode(params.csr)
    const nowMs = this.#clock.now()
    const certificate = parseCertificate(certificateDer)
    const { identity, serial, publicKey: currentKey } = verifyPeer({
      certificate, expect: { role: this.role }, trust: this.#trust, revocations: "later", nowMs,
    })
    const records = await this.#issued.of(identity)
    if (!records.some((record) => record.serial === serial && record.certificate === params.certificate)) {
      throw new EkeyError("ERR_CERT_AUTHORITY", "the authority has no record of the certificate")
    }
    await this.#assertNotRevoked(serial)
    if (!verifyPss(currentKey, renewalBytes(csr, certificateDer, params.issuedAtMs), decode(params.signature))) {
      throw new EkeyError("ERR_SIGNATURE", "the renewal is not signed by the certificate's key")
    }
    if (Math.abs(nowMs - params.issuedAtMs) > MAX_CLOCK_SKEW_MS) throw new EkeyError("ERR_REPLAY", "the renewal was signed more than 5 minutes from now")
    const { publicKey, uri } = await parseCsr(csr)
    if (uri !== formatSpiffeId(identity)) throw new EkeyError("ERR_CERT_MALFORMED", "the renewal asks for another identity")
    const pin = spkiPin(publicKey)
    const known = records.find(({ publicKeyPin }) => publicKeyPin === pin)
    // The same request again, whose answer was lost, gets the same answer; every other needs a new key.
    const isRepeated = known && "renews" in known.basis && known.basis.renews === serial
    if (known && !isRepeated) throw new EkeyError("ERR_CERT_MALFORMED", "the renewal does not bring a new key")
    if (!known && records.filter(({ notAfterMs }) => notAfterMs > nowMs).length >= MAX_LIVE_CERTIFICATES) {
      throw new EkeyError("ERR_OVERLOADED", "too many certificates of that name have not expired")
    }
    return { identity, serial, publicKey, known }
  }

  /** Signs and records, in this order; the certificate leaves only after both. */
  async #issue(identity: Identity, publicKey: KeyObject, basis: IssuedRecord["basis"]): Promise<IssuedRecord> {
    const nowMs = this.#clock.now()
    const serial = newSerial()
    const rootEndMs = this.#root.certificate.validToDate.getTime()
    const notAfterMs = Math.floor(Math.min(nowMs + CERTIFICATE_LIFE_MS[identity.role], rootEndMs) / 1000) * 1000
    const certificate = await issueLeaf({
      issuer: { certificate: this.#root.certificate.raw, privateKey: this.#root.privateKey },
      publicKey,
      commonName: identity.name,
      uri: formatSpiffeId(identity),
      serial,
      notBeforeMs: nowMs - BACKDATE_MS,
      notAfterMs,
      usage: identity.role === "gateway" ? "server" : "client",
    })
    const record = { serial, issuedAtMs: nowMs, notAfterMs, publicKeyPin: spkiPin(publicKey), certificate: toBase64url(certificate), basis }
    await this.#issued.add(identity, record, nowMs)
    return record
  }

  /** `record`, which was issued on the strength of `serial`, falls with it. */
  async #assertNotRevoked(serial: string, record?: IssuedRecord): Promise<void> {
    const isRevoked = await this.#revoked.has(serial)
    if (isRevoked && record) await this.#revoked.add(record.serial, record.notAfterMs, this.#clock.now())
    if (isRevoked || (record && await this.#revoked.has(record.serial))) throw new EkeyError("ERR_CERT_REVOKED", "the certificate was revoked")
  }

  async #publishedRoots(): Promise<CertificateEnrolResult["roots"]> {
    const { roots } = await readPublishedRoots(this.#place.folder, this.#place.trustDomain)
    return { gateway: roots.gateway.map(toBase64url), connector: roots.connector.map(toBase64url), worker: roots.worker.map(toBase64url) }
  }

  /** One answer for every reason: a stranger learns nothing about tokens. */
  #refuseToken(reason: string, params: CertificateEnrolParams, token?: KnownToken, cause?: unknown): EkeyError {
    this.#log.warn("certificate enrolment refused", {
      role: this.role, reason, tokenId: params.tokenId, tenant: token?.identity.tenant, name: token?.identity.name, code: codeOf(cause),
    })
    return new EkeyError("ERR_TOKEN", "the enrolment token is not accepted")
  }

  #logIssued(event: string, { role, tenant, name }: Identity, { serial, notAfterMs }: IssuedRecord): void {
    this.#log.info(event, { role, tenant, name, serial, notAfterMs })
  }
}

function decode(text: string): Uint8Array {
  const bytes = fromBase64url(text)
  if (!bytes) throw new EkeyError("ERR_PARAMS", "a parameter is not base64url")
  return bytes
}
