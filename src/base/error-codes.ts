/** One row of the closed list of errors; `docs/errors.md` is generated from these rows. */
export interface ErrorRow {
  /** Whether the same request may succeed later without anybody's help. */
  readonly retryable: boolean
  /** What happened, as a sentence without a full stop. */
  readonly what: string
  /** What the admin does about it. */
  readonly mend: string
}

/** Every code that the product uses, on the wire and in its logs. */
export const ERROR_CODES = {
  ERR_FRAME: { retryable: false, what: "a frame was not a JSON-RPC 2.0 message of this protocol", mend: "update the peer; a peer that goes on is disconnected with close code 4400" },
  ERR_METHOD: { retryable: false, what: "the method is unknown to this end, or not allowed for the caller's role", mend: "compare the versions of both ends" },
  ERR_PARAMS: { retryable: false, what: "a parameter is missing, unknown or malformed", mend: "the message names the field; compare it with docs/protocol.md" },
  ERR_DUPLICATE_ID: { retryable: false, what: "a request used the id of one still in flight", mend: "update the peer" },
  ERR_VERSION: { retryable: false, what: "the peer offered no protocol version that this end speaks", mend: "update the older end" },
  ERR_INTERNAL: { retryable: false, what: "a defect in this program", mend: "report it with the log lines around it" },

  ERR_OVERLOADED: { retryable: true, what: "too many requests are in flight", mend: "retry with backoff; lower the concurrency of jobs" },
  ERR_DEADLINE: { retryable: true, what: "the answer did not come within the deadline", mend: "retry; if it persists look at the load of the connector and the network" },
  ERR_LINK_LOST: { retryable: true, what: "the connection ended before the answer came", mend: "retry; the link reconnects by itself" },
  ERR_UNREACHABLE: { retryable: true, what: "no connection could be made", mend: "check address, DNS, firewall and proxy" },
  ERR_NOT_RUNNING: { retryable: true, what: "nobody listens on the program's local socket", mend: "start the program, or name its config with --config" },
  ERR_NO_CONNECTOR: { retryable: true, what: "no connector of the tenant is connected", mend: "start a connector, or look in its log for why it can't connect" },
  ERR_NO_WORKER: { retryable: true, what: "no worker of the tenant that knows the job is connected", mend: "start a worker whose config has the job" },
  ERR_WORKER_LOST: { retryable: true, what: "the worker went away while it ran the job", mend: "look in the worker's log; the next run starts afresh" },
  ERR_DRAINING: { retryable: true, what: "this end is shutting down and takes no new work", mend: "retry; another instance answers" },

  ERR_CERT_MISSING: { retryable: false, what: "the peer presented no certificate", mend: "enrol the peer, and connect to it directly or through a proxy that does not end TLS" },
  ERR_CERT_EXPIRED: { retryable: false, what: "the certificate's validity has ended", mend: "check the clock; then enrol again with a new token" },
  ERR_CERT_NOT_YET_VALID: { retryable: false, what: "the certificate's validity has not begun", mend: "check the clocks of both ends" },
  ERR_CERT_SELF_SIGNED: { retryable: false, what: "the certificate is signed by itself", mend: "enrol the peer at its authority" },
  ERR_CERT_AUTHORITY: { retryable: false, what: "the certificate is not signed by an authority that is trusted here", mend: "compare the pinned roots with the published ones; enrol again" },
  ERR_CERT_ROLE: { retryable: false, what: "the certificate is for another role than this end expects, or its authority may not vouch for that role", mend: "use the endpoint of the peer's role; enrol at the right authority" },
  ERR_CERT_TENANT: { retryable: false, what: "the certificate names another tenant", mend: "enrol with a token of the right tenant" },
  ERR_CERT_REVOKED: { retryable: false, what: "the certificate was revoked by its authority", mend: "if it was revoked by mistake enrol again with a new token" },
  ERR_CERT_MALFORMED: { retryable: false, what: "the certificate does not have the form that this protocol requires", mend: "enrol again; do not edit certificates" },
  ERR_REVOCATION_STALE: { retryable: true, what: "the authority's revocation list is missing or older than it may be", mend: "start the authority, or restore the gateway's way to it" },
  ERR_REVOCATION_INVALID: { retryable: false, what: "a revocation list is not signed by its authority, or goes back", mend: "somebody altered it on the way: look at the gateway" },
  ERR_SIGNATURE: { retryable: false, what: "a signature or proof does not match", mend: "the other end holds another key than its certificate says, or the message was altered on the way" },

  ERR_TOKEN: { retryable: false, what: "the enrolment token is unknown, used, expired, for another name, or its proof is wrong", mend: "make a new token; if the authority refused it, its log says for which of these reasons" },
  ERR_ENROLMENT: { retryable: false, what: "the authority's answer does not fit the request or the token's pins", mend: "somebody altered it on the way: look at the gateway; enrol again with a new token" },
  ERR_AUTHORITY_UNAVAILABLE: { retryable: true, what: "the gateway can't reach the authority for that role", mend: "start `ekey-cloud authority run`, and check its socket in the gateway's config" },
  ERR_AUTHORITY_ROOT: { retryable: false, what: "an authority's root is missing, damaged or not the published one", mend: "bring the authority's folder back from its backup, or copy the published roots of the other authorities to it; a new root would be trusted by nobody who is enrolled" },

  ERR_SESSION: { retryable: true, what: "the session is unknown or has ended", mend: "open a new session; the SDK does this by itself" },
  ERR_SESSION_PROOF: { retryable: false, what: "the other end of the session could not be proved", mend: "somebody answered in the connector's place, or altered the handshake: look at the gateway" },
  ERR_CUSTODIAN: { retryable: false, what: "the custodian that answered is none that a connector of this tenant handed over to", mend: "look at the gateway: it may be lying" },
  ERR_REPLAY: { retryable: false, what: "a request was seen before, or came out of order", mend: "look at the gateway: it may be replaying" },
  ERR_DECRYPT: { retryable: false, what: "a sealed value could not be opened", mend: "it was altered, truncated or meant for somebody else; on the wire: look at the gateway, in the store: restore it from a copy" },
  ERR_DENIED: { retryable: false, what: "the ekey is not released: there is none, or the customer's policy forbids it", mend: "look in the connector's log for which; provision the user or change `policy` in the connector's config" },

  ERR_OPERATION: { retryable: false, what: "the operation is unknown, has ended, or is of another worker", mend: "begin a new operation" },
  ERR_USER_EXISTS: { retryable: false, what: "the user is known already", mend: "nothing: its ekey is kept as it is" },
  ERR_USER_UNKNOWN: { retryable: false, what: "the user is not known to this tenant", mend: "add it: `ekey-cloud user add`" },
  ERR_SCHEDULE: { retryable: false, what: "the schedule is unknown, taken or malformed", mend: "see `ekey-cloud schedule list` and `ekey-cloud schedule add --help`" },
  ERR_JOB: { retryable: false, what: "the job is unknown to the worker, or its parameters are not those that its config allows", mend: "compare the schedule with `jobs` in the worker's config" },
  ERR_JOB_FAILED: { retryable: true, what: "the job's program failed", mend: "the run's reason has its exit code; look in the worker's log" },
  ERR_JOB_BUSY: { retryable: true, what: "a run of this schedule is under way already", mend: "nothing, or choose a longer interval" },

  ERR_EKEY_EXISTS: { retryable: false, what: "that version of the ekey exists already, and is never overwritten", mend: "nothing: the first value is kept" },
  ERR_RECORD_CONFLICT: { retryable: false, what: "two different records were offered for one version of an ekey", mend: "two connectors create ekeys, or a copy was altered: stop the wrong one" },
  ERR_NOT_DURABLE: { retryable: true, what: "the ekey's second copy is not durable yet", mend: "retry; if it persists look at the cloud's storage" },
  ERR_STORE: { retryable: true, what: "the store could not be read or written", mend: "check disk space and permissions of the data folder" },
  ERR_STORE_IDENTITY: { retryable: false, what: "the store belongs to another tenant or root key", mend: "check `data` and `rootKey` in the config: they belong together, and to the tenant of the identity" },
  ERR_STORE_VERSION: { retryable: false, what: "the store was written by a newer version", mend: "run the newer version; stores are never downgraded" },
  ERR_STORE_DAMAGED: { retryable: false, what: "the store's file is damaged", mend: "put back an undamaged copy of the data folder; check the disk" },
  ERR_ROOT_KEY: { retryable: false, what: "the root key is missing or unusable while the store is not empty", mend: "bring the root key back; a new one can't open what is stored" },

  ERR_CONFIG: { retryable: false, what: "the configuration is wrong", mend: "the message names each setting and its mend" },
  ERR_USAGE: { retryable: false, what: "the command line is wrong", mend: "see the command's --help" },
  ERR_FILE: { retryable: false, what: "a file could not be read or written, or others may read it", mend: "the message names what is wrong with it" },
  ERR_ARCHIVE: { retryable: false, what: "the archive could not be written or read", mend: "check the repository folder; restore from another archive" },
} as const satisfies Record<string, ErrorRow>

export type ErrorCode = keyof typeof ERROR_CODES

/** Narrows a string from outside to a known code. */
export function isErrorCode(value: string): value is ErrorCode {
  return Object.hasOwn(ERROR_CODES, value)
}
