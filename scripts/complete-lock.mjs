// Run this after `npm install` changed package-lock.json. If a registry lacks the binaries of other
// platforms, npm omits these optional packages from the lock, and `npm ci` then refuses it (npm/cli#9846).
// This script adds them again by name, version and platform, without a hash.
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { root } from './run.mjs'

const file = join(root, 'package-lock.json')
const systems = new Set([
  'aix',
  'android',
  'darwin',
  'freebsd',
  'linux',
  'netbsd',
  'openbsd',
  'openharmony',
  'sunos',
  'win32',
])
const libraries = new Map([
  ['musl', 'musl'],
  ['gnu', 'glibc'],
])

/** @type {{ packages: Record<string, any> }} */
const lock = JSON.parse(await readFile(file, 'utf8'))
let added = 0
for (const owner of Object.values(lock.packages)) {
  for (const [name, version] of Object.entries(owner.optionalDependencies ?? {})) {
    const key = `node_modules/${name}`
    // Names end with the platform, for example `@oxlint/binding-linux-x64-musl`.
    const [os = '', cpu = '', abi = ''] = (name.split('/').at(-1) ?? '').replace(/^binding-/, '').split('-')
    if (lock.packages[key] || !systems.has(os)) continue
    const library = os === 'linux' ? libraries.get(abi) : undefined
    lock.packages[key] = {
      version,
      cpu: [cpu],
      ...(owner.dev && { dev: true }),
      ...(library && { libc: [library] }),
      license: owner.license,
      optional: true,
      os: [os],
      engines: owner.engines,
    }
    added += 1
  }
}
const packages = Object.entries(lock.packages).toSorted(([a], [b]) => a.localeCompare(b, 'en'))
await writeFile(file, `${JSON.stringify({ ...lock, packages: Object.fromEntries(packages) }, null, 2)}\n`)
console.log(`added ${added} packages of other platforms`)
