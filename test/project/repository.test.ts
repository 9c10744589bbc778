// Promises about the repository itself: cheap to break by accident, cheap to keep by a test.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const read = (file: string) => readFileSync(root + file, 'utf8')

// What is tracked, and what would be if all were added now: a slip is best met before it is committed.
const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file !== '' && existsSync(root + file))
const textFiles = files.filter((file) => !/\.(png|ico|woff2)$/.test(file))

interface Manifest {
  engines: Record<string, string>
  license: string
  dependencies: Record<string, string>
  devDependencies: Record<string, string>
}
const manifest = JSON.parse(read('package.json')) as Manifest

// Put together here, so that this file may be searched like every other.
const word = (...pieces: string[]) => pieces.join('')

/** The places where any of `needles` occurs, as `file:line`. */
function occurrences(inFiles: string[], needles: RegExp[]): string[] {
  return inFiles.flatMap((file) =>
    read(file)
      .split('\n')
      .flatMap((line, index) =>
        needles.some((needle) => needle.test(line)) ? [`${file}:${index + 1}: ${line.trim()}`] : [],
      ),
  )
}

describe('dependencies', () => {
  test('the lock file says what is installed, not where it came from', () => {
    expect(occurrences(['package-lock.json'], [/"resolved": "http/])).toEqual([])
  })

  // Where a registry lacks another platform's binaries, `npm install` drops them and `npm ci` then refuses the lock file.
  test('every optional dependency has its place in the lock file', () => {
    const { packages } = JSON.parse(read('package-lock.json')) as {
      packages: Record<string, { optionalDependencies?: Record<string, string> }>
    }
    const optional = Object.values(packages).flatMap((entry) => Object.keys(entry.optionalDependencies ?? {}))
    const named = new Set(Object.keys(packages).map((path) => path.replace(/^.*node_modules\//, '')))
    expect(optional.filter((name) => !named.has(name))).toEqual([])
  })

  test('every direct dependency is pinned to one version', () => {
    const all = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })
    expect(all.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([])
  })

  test('the oldest Node that works is named', () => {
    expect(manifest.engines['node']).toBe('>=20.19')
  })
})

describe('every file', () => {
  test('names no package registry or mirror', () => {
    const hosts = [
      word('registry', '.npmjs'),
      word('registry', '.yarnpkg'),
      word('npm', 'mirror'),
      word('deb', '.debian.org'),
      word('proxy', '.golang.org'),
      word('pypi', '.org'),
      word('arti', 'factory'),
    ]
    expect(
      occurrences(textFiles, [new RegExp(hosts.join('|').replaceAll('.', String.raw`\.`), 'i')]),
    ).toEqual([])
  })

  test('names no folder of the machine it was written on', () => {
    const folders = [word('/wo', 'rk/'), word('/ro', 'ot/')]
    expect(occurrences(textFiles, [new RegExp(String.raw`(^|[\s"'\`(=:])(${folders.join('|')})`)])).toEqual(
      [],
    )
  })

  test('says all it has to say: no work is left to a comment', () => {
    const words = [word('TO', 'DO'), word('FIX', 'ME')]
    expect(occurrences(textFiles, [new RegExp(String.raw`\b(${words.join('|')})\b`)])).toEqual([])
  })

  test('no test is left out or runs alone', () => {
    const calls = [
      word('.sk', 'ip('),
      word('.on', 'ly('),
      word('.to', 'do('),
      word('.sk', 'ipIf('),
      word('.ru', 'nIf('),
    ]
    const needle = new RegExp(calls.join('|').replaceAll(/[.(]/g, String.raw`\$&`))
    expect(
      occurrences(
        // Elsewhere a reader of bytes may well step over some.
        textFiles.filter((file) => /^(test|bench)\/.*\.[mc]?[jt]s$|\.(test|contract)\.ts$/.test(file)),
        [needle],
      ),
    ).toEqual([])
  })

  test('gives the reason beside every rule of the linter that it silences', () => {
    const directive = /(\/\/|\/\*)\s*oxlint-disable/
    const silenced = occurrences(
      textFiles.filter((file) => /\.[mc]?[jt]s$/.test(file)),
      [directive],
    )
    expect(silenced.filter((line) => !/ -- \w/.test(line))).toEqual([])
  })
})

describe('licence', () => {
  test('the text is that of the licence named in package.json', () => {
    expect(manifest.license).toBe('Apache-2.0')
    expect(read('LICENSE')).toContain('Apache License')
    expect(read('LICENSE')).toContain('Version 2.0, January 2004')
  })
})
