// Rules for the repository itself that are easy to break by accident.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const read = (file: string) => readFileSync(root + file, 'utf8')

// Includes files that are not committed yet, so that a violation is found before the commit.
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

// The words are assembled from pieces, so that this file can be searched like every other.
const word = (...pieces: string[]) => pieces.join('')

/** The lines in which any of `needles` occurs, as `file:line: text`. */
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
  test('the lock file contains no download URLs', () => {
    expect(occurrences(['package-lock.json'], [/"resolved": "http/])).toEqual([])
  })

  // If a registry lacks the binaries of another platform, `npm install` omits them and `npm ci` then refuses
  // the lock file.
  test('every optional dependency is in the lock file', () => {
    const { packages } = JSON.parse(read('package-lock.json')) as {
      packages: Record<string, { optionalDependencies?: Record<string, string> }>
    }
    const optional = Object.values(packages).flatMap((entry) => Object.keys(entry.optionalDependencies ?? {}))
    const named = new Set(Object.keys(packages).map((path) => path.replace(/^.*node_modules\//, '')))
    expect(optional.filter((name) => !named.has(name))).toEqual([])
  })

  test('every direct dependency is pinned to an exact version', () => {
    const all = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })
    expect(all.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([])
  })

  test('package.json names the oldest supported Node version', () => {
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

  test('names no folder of a development machine', () => {
    const folders = [word('/wo', 'rk/'), word('/ro', 'ot/')]
    expect(occurrences(textFiles, [new RegExp(String.raw`(^|[\s"'\`(=:])(${folders.join('|')})`)])).toEqual(
      [],
    )
  })

  test('has no comments about work to do', () => {
    const words = [word('TO', 'DO'), word('FIX', 'ME')]
    expect(occurrences(textFiles, [new RegExp(String.raw`\b(${words.join('|')})\b`)])).toEqual([])
  })

  test('no test is skipped or focused', () => {
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
        // Other files may have methods with these names.
        textFiles.filter((file) => /^(test|bench)\/.*\.[mc]?[jt]s$|\.(test|contract)\.ts$/.test(file)),
        [needle],
      ),
    ).toEqual([])
  })

  test('wraps comments and prose at 110 columns', () => {
    const isTooLong = (line: string): boolean => /^.{111}/u.test(line)
    const wide = textFiles.flatMap((file) => {
      if (!existsSync(root + file)) return []
      const isPage = file.endsWith('.md')
      // Generated pages have one line for each field, and the changelog's entries are kept as they were
      // written.
      if (
        isPage ? /^(docs\/reference|dashboards|charts)\/|CHANGELOG/.test(file) : !/\.[mc]?[jt]s$/.test(file)
      )
        return []
      // Code and tables of a page are not prose.
      const text = isPage
        ? read(file).replaceAll(/^ *```[^]*?^ *```/gm, (code) => code.replaceAll(/[^\n]/g, ''))
        : read(file)
      return text.split('\n').flatMap((line, index) => {
        const isProse = isPage
          ? !/^\s*(\||#|!?\[[^\]]*\]\(\S+\)$|<!--)/.test(line)
          : /^\s*(\/\/|\/?\*)/.test(line)
        const cannotBreak = /https?:\/\/\S{60}|@type|@typedef|oxlint-disable/.test(line)
        return isProse && !cannotBreak && isTooLong(line) ? [`${file}:${index + 1}`] : []
      })
    })
    expect(wide).toEqual([])
  })

  test('gives a reason for every disabled lint rule', () => {
    const directive = /(\/\/|\/\*)\s*oxlint-disable/
    const silenced = occurrences(
      textFiles.filter((file) => /\.[mc]?[jt]s$/.test(file)),
      [directive],
    )
    expect(silenced.filter((line) => !/ -- \w/.test(line))).toEqual([])
  })
})

describe('licence', () => {
  test('LICENSE has the text of the licence in package.json', () => {
    expect(manifest.license).toBe('Apache-2.0')
    expect(read('LICENSE')).toContain('Apache License')
    expect(read('LICENSE')).toContain('Version 2.0, January 2004')
  })
})
