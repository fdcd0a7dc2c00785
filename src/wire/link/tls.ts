import { connect } from "node:tls"
import type { TLSSocket } from "node:tls"
import { EkeyError } from "../../base/errors.ts"

/** A URL of the gateway: `wss://host[:port]`, nothing else in it. */
export interface GatewayAddress {
  readonly host: string
  readonly port: number
}

/** @throws EkeyError ERR_CONFIG when the text is not a bare `wss://` URL. */
export function parseGatewayUrl(text: string): GatewayAddress {
  const url = URL.parse(text)
  if (url?.protocol !== "wss:" || url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "" || url.pathname !== "/") {
    throw new EkeyError("ERR_CONFIG", "the gateway's address must be a wss:// URL without path or credentials, for example wss://gateway.example.com:7400")
  }
  return { host: url.hostname.replace(/^\[(.*)\]$/, "$1"), port: url.port === "" ? 443 : Number(url.port) }
}

/** The certificate and key that an end shows, PEM. */
export interface TlsIdentity {
  readonly certificatePem: string
  readonly keyPem: string
}

/** How long DNS, TCP and TLS may take together. */
export const CONNECT_WITHIN_MS = 10_000

/**
 * Connects by TLS 1.3 without letting OpenSSL judge: `rejectUnauthorized: false`, because a refusal
 * there shows only as ECONNRESET, and because peers here carry a SPIFFE ID and no DNS name. The
 * caller must judge the peer's certificate before it sends anything. No session is resumed: a
 * resumed client session has no certificate to judge.
 * @throws EkeyError ERR_UNREACHABLE
 */
export async function connectTls(address: GatewayAddress, identity: TlsIdentity | undefined, signal: AbortSignal): Promise<TLSSocket> {
  const socket = connect({
    host: address.host,
    port: address.port,
    ALPNProtocols: ["http/1.1"],
    minVersion: "TLSv1.3",
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    ...(identity ? { cert: identity.certificatePem, key: identity.keyPem } : {}),
  })
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>()
  const abort = (): void => { socket.destroy(new Error("connecting took too long or was given up")) }
  signal.addEventListener("abort", abort, { once: true })
  socket.once("secureConnect", () => { resolve(socket) })
  socket.once("error", (cause) => { reject(new EkeyError("ERR_UNREACHABLE", "no TLS connection to the gateway", { cause })) })
  socket.once("close", () => { reject(new EkeyError("ERR_UNREACHABLE", "the gateway closed the connection")) })
  if (signal.aborted) abort()
  try {
    return await promise
  } finally {
    signal.removeEventListener("abort", abort)
  }
}
