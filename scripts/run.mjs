// Runs one command: quietly, for scripts that have nothing to say while all is well, or before everybody's eyes.
import { spawn } from 'node:child_process'
import { delimiter } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

/** The project's folder: where every command runs. */
export const root = fileURLToPath(new URL('..', import.meta.url))

const path = [`${root}node_modules/.bin`, process.env.PATH].join(delimiter)

/**
 * What it says goes where our own words go.
 * @param {string} command
 * @param {string[]} args
 * @param {Record<string, string>} [env] on top of ours
 * @returns {Promise<number>} its exit code; 1 when a signal ended it
 */
export function show(command, args, env = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } })
    child.on('close', (code) => resolve(code ?? 1))
  })
}

/**
 * Never rejects: a command that cannot be started has failed, and says why.
 * @param {string} command found in node_modules/.bin first
 * @param {string[]} args
 * @param {{ env?: Record<string, string>, cwd?: string, deadlineMs?: number }} [options] without `cwd`: the project's folder; past the
 *   deadline it is ended, and has failed
 * @returns {Promise<{ ok: boolean, output: string, ms: number }>} `output` is stdout and stderr in the order they came
 */
export function run(command, args, options = {}) {
  const startedMs = performance.now()
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: options.cwd ?? root,
      env: { ...process.env, ...options.env, PATH: path },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: options.deadlineMs,
    })
    let output = ''
    const keep = (/** @type {string} */ text) => void (output += text)
    child.stdout.setEncoding('utf8').on('data', keep)
    child.stderr.setEncoding('utf8').on('data', keep)
    const end = (/** @type {boolean} */ ok) => resolve({ ok, output, ms: performance.now() - startedMs })
    child.on('error', (error) => {
      keep(`${command}: ${error.message}\n`)
      end(false)
    })
    child.on('close', (code) => end(code === 0))
  })
}

/**
 * Downloads fail now and then, and package managers hold locks: three tries.
 * @template {{ ok: boolean }} Outcome
 * @param {() => Promise<Outcome>} attempt
 * @returns {Promise<Outcome>} of the first that went well, or of the last
 */
export async function inThreeTries(attempt) {
  for (let triesLeft = 2; ; triesLeft -= 1) {
    const outcome = await attempt()
    if (outcome.ok || triesLeft === 0) return outcome
    await sleep(5_000)
  }
}
