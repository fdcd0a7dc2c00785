import { access, constants } from "node:fs/promises"
import { delimiter, join } from "node:path"
import type { JobDefinition } from "../../worker/job-definition.ts"
import { commandOf } from "./processes.ts"

/** A backup program, as jobs and `exec` run it. */
export interface Engine {
  readonly name: "restic" | "archive"
  /** The worker's job that backs `source` up into `repository`. */
  job(source: string, repository: string): Pick<JobDefinition, "program" | "args" | "repository"> & { statistics: Record<string, string> }
  /** Prepares an empty repository; null where none is needed. */
  init(repository: string): string[] | null
  restore(repository: string, target: string): string[]
  /** Where the source's content is below the target of a restore. */
  restoredPath(target: string, source: string): string
}

const PASSWORD = ["--password-file", "/dev/fd/3"]

function restic(program: string): Engine {
  return {
    name: "restic",
    job: (source, repository) => ({
      program, repository,
      args: ["-r", "{repository}", ...PASSWORD, "--no-cache", "--json", "backup", escapeBraces(source)],
      statistics: { files: "total_files_processed", bytes: "total_bytes_processed" },
    }),
    init: (repository) => [program, "-r", repository, ...PASSWORD, "--no-cache", "init"],
    restore: (repository, target) => [program, "-r", repository, ...PASSWORD, "--no-cache", "restore", "latest", "--target", target],
    restoredPath: (target, source) => join(target, source),
  }
}

function archive(): Engine {
  const { program, args } = commandOf("ekey-archive")
  return {
    name: "archive",
    job: (source, repository) => ({
      program, repository,
      args: [...args.map(escapeBraces), "backup", "--repository", "{repository}", ...PASSWORD, "--json", escapeBraces(source)],
      statistics: { files: "files", bytes: "bytes" },
    }),
    init: () => null,
    restore: (repository, target) => [program, ...args, "restore", "--repository", repository, ...PASSWORD, "--target", target],
    restoredPath: (target) => target,
  }
}

/** In a job's arguments, braces stand for placeholders unless doubled. */
function escapeBraces(text: string): string {
  return text.replaceAll("{", "{{").replaceAll("}", "}}")
}

/** restic where it is installed, otherwise the archive engine that comes along. */
export async function chooseEngine(wanted: "auto" | "restic" | "archive", searchPath: string): Promise<Engine | null> {
  if (wanted === "archive") return archive()
  const program = await findProgram("restic", searchPath)
  if (program !== null) return restic(program)
  return wanted === "auto" ? archive() : null
}

async function findProgram(name: string, searchPath: string): Promise<string | null> {
  for (const folder of searchPath.split(delimiter)) {
    const path = join(folder, name)
    if (folder.startsWith("/") && await access(path, constants.X_OK).then(() => true, () => false)) return path
  }
  return null
}
