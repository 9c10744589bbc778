// Programs that the tests need besides the project's own: their names, their packages, and where they are on
// this machine.
import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { run } from './run.mjs'

/**
 * The need is met by the file that the environment variable `variable` names, or else by the first of
 * `programs` on the PATH. `proof`: arguments with which a suitable version exits with 0. `service`: the
 * service that the package starts when it is installed, which the tests do not use. `only`: the only suite
 * that needs the program.
 * @typedef {{ what: string, variable: string, programs: string[], aptPackage: string, proof?: string[],
 * service?: string, only?: 'faults' | 'sdk' }} Need
 */

/** @satisfies {Record<string, Need>} */
export const needs = {
  chromium: {
    what: 'Chromium, for the tests of the chat page',
    variable: 'PARLEY_CHROMIUM',
    programs: ['chromium', 'chromium-browser', 'google-chrome'],
    aptPackage: 'chromium',
  },
  redis: {
    what: 'redis-server 7.0 or newer, for the tests with Redis (they start their own servers)',
    variable: 'PARLEY_REDIS_SERVER',
    programs: ['redis-server'],
    aptPackage: 'redis-server',
    service: 'redis-server',
  },
  redisCli: {
    what: 'redis-cli, for tests that inspect their Redis',
    variable: 'PARLEY_REDIS_CLI',
    programs: ['redis-cli'],
    aptPackage: 'redis-tools',
  },
  openssl: {
    what: 'openssl, which creates the certificates of the TLS tests',
    variable: 'PARLEY_OPENSSL',
    programs: ['openssl'],
    aptPackage: 'openssl',
  },
  haproxy: {
    what: 'haproxy, for the test of examples/haproxy',
    variable: 'PARLEY_HAPROXY',
    programs: ['haproxy'],
    aptPackage: 'haproxy',
    service: 'haproxy',
  },
  nginx: {
    what: 'nginx, for the test of examples/nginx',
    variable: 'PARLEY_NGINX',
    programs: ['nginx'],
    aptPackage: 'nginx-light',
    service: 'nginx',
  },
  faketime: {
    what: 'faketime, whose library shifts the clock of a Redis server',
    variable: 'PARLEY_FAKETIME',
    programs: ['faketime'],
    aptPackage: 'faketime',
    only: 'faults',
  },
  python: {
    what: 'Python 3.11 or newer with venv, for the official Python clients',
    variable: 'PARLEY_PYTHON',
    programs: ['python3'],
    aptPackage: 'python3-venv',
    proof: ['-c', 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))'],
    only: 'sdk',
  },
  javac: {
    what: 'a JDK 11 or newer, for the official Java client',
    variable: 'PARLEY_JAVAC',
    programs: ['javac'],
    aptPackage: 'default-jdk-headless',
    proof: ['--release', '11', '-version'],
    only: 'sdk',
  },
  maven: {
    what: 'Maven, which downloads the official Java client',
    variable: 'PARLEY_MAVEN',
    programs: ['mvn'],
    aptPackage: 'maven',
    only: 'sdk',
  },
}

/**
 * Finds the program. Returns its path; undefined when it is missing or has the wrong version, or when the
 * variable names no executable file.
 * @param {Need} need
 */
export async function locate({ variable, programs, proof }) {
  const named = process.env[variable]
  const found = await (named ? firstExecutable([named]) : onPath(programs))
  if (found === undefined || proof === undefined) return found
  return (await run(found, proof)).ok ? found : undefined
}

/**
 * Finds the first of `programs` on the PATH.
 * @param {string[]} programs
 * @returns {Promise<string | undefined>}
 */
export function onPath(programs) {
  // Servers are often installed in folders that only root's PATH contains, but every user may run them.
  const folders = [
    ...(process.env.PATH ?? '').split(delimiter).filter(Boolean),
    '/usr/local/sbin',
    '/usr/sbin',
  ]
  return firstExecutable(programs.flatMap((program) => folders.map((folder) => join(folder, program))))
}

/** Returns the first of `files` that is executable; undefined when there is none. @param {string[]} files */
export async function firstExecutable(files) {
  const executable = await Promise.all(
    files.map((file) =>
      access(file, constants.X_OK).then(
        () => true,
        () => false,
      ),
    ),
  )
  return files[executable.indexOf(true)]
}
