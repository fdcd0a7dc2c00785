import { z } from "zod"
import { EkeyError } from "../../base/errors.ts"
import { Name, TenantId } from "../messages/scalars.ts"

/** What a peer is. Each role has an authority of its own, which vouches for nothing else. */
export const Role = z.enum(["gateway", "connector", "worker"]).describe("what a peer is")
export type Role = z.infer<typeof Role>

export const ROLES: readonly Role[] = Role.options

/** DNS-like, lower case, at most 255 characters (SPIFFE ID specification, section 2.1). */
export const TrustDomain = z.string().max(255)
  .regex(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/, "must be a lower-case DNS-like name")
export type TrustDomain = z.infer<typeof TrustDomain>

/** Who a peer is. Only `parseSpiffeId` and a verified certificate make one from outside data. */
export interface Identity {
  readonly trustDomain: string
  readonly role: Role
  /** `null` for a gateway, which serves every tenant. */
  readonly tenant: string | null
  readonly name: string
}

const TENANT_MEMBER = /^spiffe:\/\/([a-z0-9.-]{1,255})\/tenant\/([a-z0-9-]{1,63})\/(connector|worker)\/([a-z0-9-]{1,63})$/
const GATEWAY = /^spiffe:\/\/([a-z0-9.-]{1,255})\/gateway\/([a-z0-9-]{1,63})$/

/**
 * Reads `spiffe://<trust-domain>/tenant/<tenant>/connector|worker/<name>` or
 * `spiffe://<trust-domain>/gateway/<name>`: one spelling for each identity, no escapes.
 * @throws EkeyError ERR_CERT_MALFORMED for everything else.
 */
export function parseSpiffeId(text: string): Identity {
  const identity = readMember(text) ?? readGateway(text)
  if (identity === null || !isValid(identity)) throw new EkeyError("ERR_CERT_MALFORMED", "the SPIFFE ID is not of this protocol's form")
  return identity
}

/** @throws EkeyError ERR_PARAMS if the parts make no SPIFFE ID that `parseSpiffeId` reads back. */
export function formatSpiffeId(identity: Identity): string {
  if (!isValid(identity)) throw new EkeyError("ERR_PARAMS", "the parts make no SPIFFE ID")
  return identity.tenant === null
    ? `spiffe://${identity.trustDomain}/gateway/${identity.name}`
    : `spiffe://${identity.trustDomain}/tenant/${identity.tenant}/${identity.role}/${identity.name}`
}

export function isSameIdentity(a: Identity, b: Identity): boolean {
  return a.trustDomain === b.trustDomain && a.role === b.role && a.tenant === b.tenant && a.name === b.name
}

function readMember(text: string): Identity | null {
  const [, trustDomain, tenant, role, name] = TENANT_MEMBER.exec(text) ?? []
  if (trustDomain === undefined || tenant === undefined || name === undefined) return null
  return { trustDomain, role: role === "connector" ? "connector" : "worker", tenant, name }
}

function readGateway(text: string): Identity | null {
  const [, trustDomain, name] = GATEWAY.exec(text) ?? []
  if (trustDomain === undefined || name === undefined) return null
  return { trustDomain, role: "gateway", tenant: null, name }
}

function isValid({ trustDomain, role, tenant, name }: Identity): boolean {
  return TrustDomain.safeParse(trustDomain).success
    && Name.safeParse(name).success
    && (role === "gateway" ? tenant === null : TenantId.safeParse(tenant).success)
}
