// Programs that the tests run besides the project's own: what they are called, and where they lie on this machine.
import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { run } from './run.mjs'

/**
 * Met by the file that `variable` names, else by the first of `programs` on the PATH.
 * `proof`: arguments with which the right version ends well. `service`: what the package starts when it is installed, and the tests do not
 * want. `only`: no other tests need it.
 * @typedef {{ what: string, variable: string, programs: string[], aptPackage: string, proof?: string[], service?: string, only?: 'faults' | 'sdk' }} Need
 */

/** @satisfies {Record<string, Need>} */
export const needs = {
  chromium: {
    what: 'a Chromium, for the tests of the chat page',
    variable: 'PARLEY_CHROMIUM',
    programs: ['chromium', 'chromium-browser', 'google-chrome'],
    aptPackage: 'chromium',
  },
  redis: {
    what: 'redis-server 7.0 or newer, for the tests of many gateways (they start their own)',
    variable: 'PARLEY_REDIS_SERVER',
    programs: ['redis-server'],
    aptPackage: 'redis-server',
    service: 'redis-server',
  },
  redisCli: {
    what: 'redis-cli, which tests ask what their Redis thinks',
    variable: 'PARLEY_REDIS_CLI',
    programs: ['redis-cli'],
    aptPackage: 'redis-tools',
  },
  openssl: {
    what: 'openssl, which makes the certificates of the TLS tests',
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
    what: 'faketime, whose library moves the clock of a Redis',
    variable: 'PARLEY_FAKETIME',
    programs: ['faketime'],
    aptPackage: 'faketime',
    only: 'faults',
  },
  python: {
    what: 'Python 3.11 or newer with venv, for its official clients',
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
    what: 'Maven, which fetches the official Java client',
    variable: 'PARLEY_MAVEN',
    programs: ['mvn'],
    aptPackage: 'maven',
    only: 'sdk',
  },
}

/**
 * Where the program lies; undefined when it is missing or the wrong version, or when the variable names no executable file.
 * @param {Need} need
 */
export async function locate({ variable, programs, proof }) {
  const named = process.env[variable]
  const found = await (named ? firstExecutable([named]) : onPath(programs))
  if (found === undefined || proof === undefined) return found
  return (await run(found, proof)).ok ? found : undefined
}

/**
 * @param {string[]} programs
 * @returns {Promise<string | undefined>}
 */
export function onPath(programs) {
  // Servers lie where only root's PATH leads, and others may run them all the same.
  const folders = [
    ...(process.env.PATH ?? '').split(delimiter).filter(Boolean),
    '/usr/local/sbin',
    '/usr/sbin',
  ]
  return firstExecutable(programs.flatMap((program) => folders.map((folder) => join(folder, program))))
}

/** @param {string[]} files */
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
