/**
 * The tables as kysely sees them. Only what SQLite and PostgreSQL share: text, bytes, and integers
 * (times in milliseconds since the Unix epoch, booleans as 0 and 1). What a column may hold is
 * checked when a row is read: see `rows.ts`.
 */
export interface Tables {
  users: UsersTable
  records: RecordsTable
  record_sequences: RecordSequencesTable
  operations: OperationsTable
  schedules: SchedulesTable
  runs: RunsTable
  alarms: AlarmsTable
}

export interface UsersTable {
  tenant: string
  user: string
  state: string
  ekey_version: number | null
  created_at_ms: number
}

export interface RecordsTable {
  tenant: string
  user: string
  version: number
  sealed: Uint8Array
  sequence: number
  created_at_ms: number
}

/** One row a tenant: the sequence given last. Its row lock puts the tenant's writers in line. */
export interface RecordSequencesTable {
  tenant: string
  last_sequence: number
}

export interface OperationsTable {
  tenant: string
  id: string
  worker: string
  product: string
  workflow: string
  run: string | null
  state: string
  reason: string | null
  releases: number
  begun_at_ms: number
  ended_at_ms: number | null
}

export interface SchedulesTable {
  tenant: string
  name: string
  user: string
  product: string
  workflow: string
  job: string
  cron: string
  /** JSON. */
  parameters: string
  enabled: number
  created_at_ms: number
}

export interface RunsTable {
  id: string
  tenant: string
  schedule: string
  user: string
  job: string
  worker: string | null
  state: string
  reason: string | null
  detail: string | null
  exit_code: number | null
  /** JSON. */
  statistics: string | null
  started_at_ms: number
  ended_at_ms: number | null
}

export interface AlarmsTable {
  id: string
  tenant: string | null
  kind: string
  detail: string
  at_ms: number
}
