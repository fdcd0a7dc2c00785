/** The subprotocol that both ends must name in the WebSocket handshake. */
export const SUBPROTOCOL = "ekey.v1"

/** Larger frames end the connection with close code 1009. */
export const MAX_FRAME_BYTES = 1024 * 1024

/** Users in one `ekey.releaseMany`. */
export const MAX_RELEASE_USERS = 256

/** Requests that one end works on at once for one peer; more are refused with ERR_OVERLOADED. */
export const MAX_IN_FLIGHT = 1024

/** Unsent bytes to one peer; a peer that reads slower than this is disconnected. */
export const MAX_BUFFERED_BYTES = 16 * 1024 * 1024

/** Frames outside the protocol that a peer may send before it is disconnected with CLOSE_CODES.protocol. */
export const MAX_STRIKES = 5

/** How far two clocks may differ in signed statements. */
export const MAX_CLOCK_SKEW_MS = 5 * 60_000

/** Lifetime of a session between worker and custodian. */
export const SESSION_MS = 60 * 60_000

/** How long a sealed ekey is good for after the connector sealed it. */
export const RELEASE_MS = 60_000

/** WebSocket close codes of this protocol (RFC 6455 section 7.4.2: 4000-4999 are private). */
export const CLOSE_CODES = {
  normal: 1000,
  goingAway: 1001,
  /** The peer went on sending frames outside the protocol after it was told. */
  protocol: 4400,
  /** The peer's certificate ended or was revoked while it was connected. */
  identity: 4401,
  /** Another connection of the same identity took this one's place. */
  replaced: 4409,
  /** The peer reads slower than it asks, or gave no sign of life. */
  unresponsive: 4408,
} as const

/** Heartbeat of the dialling end, and the silence after which the listening end gives a link up. */
export const PING_EVERY_MS = 25_000
export const PONG_WITHIN_MS = 10_000
export const SILENT_AFTER_MS = 120_000

/** Paths of the gateway, one for each role. */
export const PATHS = { connector: "/v1/connector", worker: "/v1/worker", enrol: "/v1/enrol" } as const
