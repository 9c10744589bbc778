// Runs one command, and either captures its output or passes it through.
import { spawn } from 'node:child_process'
import { delimiter } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

/** The root folder of the project. Commands run here by default. */
export const root = fileURLToPath(new URL('..', import.meta.url))

const path = [`${root}node_modules/.bin`, process.env.PATH].join(delimiter)

/**
 * Runs a command with the standard streams of this process.
 * @param {string} command
 * @param {string[]} args
 * @param {Record<string, string>} [env] added to the environment of this process
 * @returns {Promise<number>} the exit code; 1 when a signal ended the command
 */
export function show(command, args, env = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } })
    child.on('close', (code) => resolve(code ?? 1))
  })
}

/**
 * Runs a command and captures its output. Never rejects: for a command that cannot be started, `ok` is false
 * and `output` says why.
 * @param {string} command searched in node_modules/.bin first, then on the PATH
 * @param {string[]} args
 * @param {{ env?: Record<string, string>, cwd?: string, deadlineMs?: number }} [options] `cwd`: default is
 * the root folder; a
 *   command that exceeds `deadlineMs` is ended, and `ok` is false
 * @returns {Promise<{ ok: boolean, output: string, ms: number }>} `output` is stdout and stderr in order of
 * arrival
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
    const append = (/** @type {string} */ text) => void (output += text)
    child.stdout.setEncoding('utf8').on('data', append)
    child.stderr.setEncoding('utf8').on('data', append)
    const end = (/** @type {boolean} */ ok) => resolve({ ok, output, ms: performance.now() - startedMs })
    child.on('error', (error) => {
      append(`${command}: ${error.message}\n`)
      end(false)
    })
    child.on('close', (code) => end(code === 0))
  })
}

/**
 * Tries up to three times, because downloads fail occasionally and package managers hold locks.
 * @template {{ ok: boolean }} Outcome
 * @param {() => Promise<Outcome>} attempt
 * @returns {Promise<Outcome>} the outcome of the first success, or of the last attempt
 */
export async function inThreeTries(attempt) {
  for (let triesLeft = 2; ; triesLeft -= 1) {
    const outcome = await attempt()
    if (outcome.ok || triesLeft === 0) return outcome
    await sleep(5_000)
  }
}
