/**
 * Runs before every npm script that needs the dependencies (prestart, pretest, prebench). Installs
 * what package-lock.json names if it is not installed yet, the pinned Node included, and does nothing
 * otherwise. Plain JavaScript for whatever Node runs npm: the pinned one may not be there yet.
 */
import { spawn, spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { hostname } from "node:os"
import { dirname, join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const LOCK_FILE = join(ROOT, "package-lock.json")
const MODULES = join(ROOT, "node_modules")
/** npm's own record of what it installed. */
const INSTALLED = join(MODULES, ".package-lock.json")
const STAMP = join(MODULES, ".bootstrap-stamp")
/** Held while npm installs; names its holder. */
const MUTEX = join(ROOT, ".bootstrap-lock")
const PINNED_NODE = join(MODULES, ".bin", "node")

/** Platforms for which the lock file pins a Node binary. */
const PINNED_PLATFORMS = ["linux-x64", "linux-arm64", "win32-x64"]
const OLDEST_NODE = [22, 18]
const POLL_MS = 250
const WAIT_MS = 15 * 60_000

/** A failure that a person can mend: shown without a stack. */
class BootstrapError extends Error {}

/** npm, while it runs here. */
let installer

async function main() {
  if (!isPinnedHere()) {
    requireVersion(process.versions.node, `no Node is pinned for ${process.platform}-${process.arch}: install a newer one`)
  }
  const wanted = readWanted()
  if (isStamped(wanted)) return
  await withMutex(async () => {
    if (!isInstalled()) await install() // Another process may have done so while this one waited.
    if (isPinnedHere()) checkPinnedNode()
    writeFileSync(STAMP, wanted)
  })
}

/** What the stamp must say: this lock file, installed for this platform. */
function readWanted() {
  const content = read(LOCK_FILE)
  if (content === null) throw new BootstrapError("package-lock.json is missing: take it from the repository again")
  return `${process.platform}-${process.arch} ${createHash("sha256").update(content).digest("hex")}\n`
}

function isStamped(wanted) {
  return read(STAMP) === wanted && (!isPinnedHere() || existsSync(PINNED_NODE))
}

/** Whether npm's record names every package of the lock file, in its version: true after an `npm ci` by hand. */
function isInstalled() {
  const installed = read(INSTALLED)
  if (installed === null || (isPinnedHere() && !existsSync(PINNED_NODE))) return false
  const found = packagesOf(installed)
  const locked = packagesOf(read(LOCK_FILE))
  if (!found || !locked) return false
  for (const [path, { version, integrity, optional }] of Object.entries(locked)) {
    if (path === "" || (optional && !found[path])) continue
    if (found[path]?.version !== version || found[path]?.integrity !== integrity) return false
  }
  return true
}

/** @returns the packages of a lock file by path, or null if it is none: npm says what is wrong with it. */
function packagesOf(lockFile) {
  try {
    return JSON.parse(lockFile).packages ?? null
  } catch {
    return null
  }
}

async function install() {
  say("installing what package-lock.json names (npm ci); this happens once")
  rmSync(STAMP, { force: true })
  const npm = npmCommand()
  // Optional packages carry the pinned Node, development ones the tests, whatever NODE_ENV or npm's
  // configuration leave out. Node's version is checked here, after the install that brings it.
  const args = [...npm.args, "ci", "--include=optional", "--include=dev", "--no-engine-strict", "--no-audit", "--no-fund"]
  const { status, output } = await run(npm.command, args, npm.shell)
  if (status === 0) return
  if (status === null) throw new BootstrapError("interrupted: nothing is half done that the next start does not mend")
  process.stderr.write(output)
  throw new BootstrapError("npm ci failed; its output is above. It needs the npm registry, or a cache that has every package")
}

/** The npm that called this script, run by the Node that runs it; without one, the npm on the path. */
function npmCommand() {
  const caller = process.env.npm_execpath
  if (caller && /npm-cli\.c?js$/.test(caller)) {
    return { command: process.env.npm_node_execpath ?? process.execPath, args: [caller], shell: false }
  }
  return { command: "npm", args: [], shell: process.platform === "win32" }
}

function run(command, args, shell) {
  return new Promise((resolve, reject) => {
    installer = spawn(command, args, { cwd: ROOT, shell, stdio: ["ignore", "pipe", "pipe"] })
    const chunks = []
    installer.stdout.on("data", (chunk) => chunks.push(chunk))
    installer.stderr.on("data", (chunk) => chunks.push(chunk))
    installer.on("error", (error) => { reject(new BootstrapError(`npm could not be started: ${error.message}`)) })
    installer.on("close", (status) => { resolve({ status, output: Buffer.concat(chunks) }) })
  })
}

/** @throws BootstrapError if the scripts that follow would run on a Node that is missing, broken or too old. */
function checkPinnedNode() {
  const where = `${process.platform}-${process.arch}`
  if (!existsSync(PINNED_NODE)) {
    throw new BootstrapError(`npm ci left out the Node pinned for ${where}: delete node_modules, and allow optional packages in npm's configuration`)
  }
  const shell = process.platform === "win32"
  const probe = spawnSync(shell ? `"${PINNED_NODE}.cmd"` : PINNED_NODE, ["--version"], { encoding: "utf8", shell })
  if (probe.status !== 0) {
    throw new BootstrapError(`the Node pinned for ${where} does not run here: ${probe.error?.message ?? probe.stderr.trim()}`)
  }
  requireVersion(probe.stdout.trim().replace(/^v/, ""), "delete node_modules and run this again")
}

function requireVersion(version, mend) {
  const [major, minor] = version.split(".").map(Number)
  const [oldestMajor, oldestMinor] = OLDEST_NODE
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return
  throw new BootstrapError(`found Node ${version}, which is older than ${OLDEST_NODE.join(".")}: ${mend}`)
}

function isPinnedHere() {
  return PINNED_PLATFORMS.includes(`${process.platform}-${process.arch}`)
}

/** Runs `work` while no other process of this project installs. */
async function withMutex(work) {
  const self = `${process.pid} ${hostname()} ${Date.now()}\n`
  await acquire(self)
  const release = () => { if (read(MUTEX) === self) rmSync(MUTEX, { force: true }) }
  const interrupt = (signal) => {
    if (installer) {
      installer.kill(signal) // Its end is awaited below: only then may another process install.
      return
    }
    release()
    process.exit(1)
  }
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt)
  try {
    await work()
  } finally {
    release()
  }
}

async function acquire(self) {
  const giveUpMs = Date.now() + WAIT_MS
  for (let told = false; ; told = true) {
    try {
      writeFileSync(MUTEX, self, { flag: "wx" })
      return
    } catch (error) {
      if (error.code !== "EEXIST") throw new BootstrapError(`the project's folder can't be written: ${error.message}`)
    }
    const holder = read(MUTEX)
    if (holder === null) continue
    if (isGone(holder)) {
      discard(holder)
      continue
    }
    if (Date.now() > giveUpMs) throw new BootstrapError(`another process has been installing for too long: end it, or delete ${MUTEX}`)
    if (!told) say(`waiting for another process that installs (${holder.trim().split(" ", 1)[0]})`)
    await sleep(POLL_MS)
  }
}

/** Whether the holder died without letting go. On another host, which shares this folder, nobody can tell. */
function isGone(holder) {
  const [pid, host] = holder.trim().split(" ")
  if (host !== hostname()) return false
  try {
    process.kill(Number(pid), 0)
    return false
  } catch (error) {
    return error.code === "ESRCH"
  }
}

/** Takes a dead holder's lock away; should it be a living one's by now, that one gets it back. */
function discard(holder) {
  const aside = `${MUTEX}-${process.pid}`
  try {
    renameSync(MUTEX, aside)
    if (read(aside) !== holder) linkSync(aside, MUTEX)
  } catch {
    // Somebody else was faster, which is all that is wanted.
  }
  rmSync(aside, { force: true })
}

/** @returns the file's text, or null if there is none. */
function read(path) {
  try {
    return readFileSync(path, "utf8")
  } catch (error) {
    if (error.code === "ENOENT") return null
    throw error
  }
}

/** Progress goes to stderr: the last line of stdout belongs to the script that follows. */
function say(line) {
  process.stderr.write(`bootstrap: ${line}\n`)
}

try {
  await main()
} catch (error) {
  say(error instanceof BootstrapError ? error.message : error.stack)
  process.exitCode = 1
}
