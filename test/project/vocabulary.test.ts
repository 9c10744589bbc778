// The words that this project has retired. The code once had a private dialect, which cost a newcomer two
// weeks: this test fails when a retired identifier or phrase comes back in src/ or docs/, and names the word
// to use instead.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

interface Retired {
  readonly pattern: RegExp
  readonly instead: string
}

/** Anywhere in code, comments, strings and prose. */
const anywhere: readonly Retired[] = [
  { pattern: /\bcomings\b/i, instead: 'joins and leaves' },
  { pattern: /\b(turnstile)\b/i, instead: 'ArrivalPacer' },
  { pattern: /\b(remnants?|last ?wills?)\b/i, instead: 'retention record' },
  { pattern: /\b(whereabouts|surroundings)\b/i, instead: 'addresses, environment' },
  { pattern: /\bobey(s|ed|ing)?\b/i, instead: 'apply' },
  { pattern: /\btroubles?\b/i, instead: 'unavailable reason, problem, outage' },
  { pattern: /\bmistakes?\b/i, instead: 'config error, error' },
  { pattern: /\bdoors?\b/i, instead: 'endpoint' },
  { pattern: /\blanes?\b/i, instead: 'worker' },
  { pattern: /\bovertak(e|es|en|ing)\b|\bovertook\b/i, instead: 'out of order, before' },
  { pattern: /\bafresh\b|\bhurry\b/i, instead: 'fresh poll, pollNow' },
  { pattern: /\bbelieved\b/i, instead: 'lastProven' },
  { pattern: /\bstandings?\b/, instead: 'confirmed position, RolloutState, condition' },
  { pattern: /\bstands? by\b/i, instead: 'confirms' },
  { pattern: /\bof the past\b/i, instead: 'stale' },
  { pattern: /\bmakes? no sense\b/i, instead: 'malformed' },
  { pattern: /\bso many (a|per|of|at)\b/i, instead: 'at most N' },
  { pattern: /(?<!\bsome |\bmember |\bpart )\bof ours\b/i, instead: "Parley's" },
  { pattern: /\ball is well\b/i, instead: 'say what happened' },
  { pattern: /\bwhoe?soever\b|\bwhoever\b/i, instead: 'the client, the caller, the operator' },
  { pattern: /\bsomebody\b/i, instead: 'a client, a user, another process' },
]

/** In code only: comments and strings may use the ordinary word. */
const identifiers: readonly Retired[] = [
  { pattern: /\bEdge\b/, instead: 'PresenceChange' },
  {
    pattern: /\b(beat|beats|beatMs|beatMinMs|beatMaxMs|framesPerBeatMs|cancelBeat)\b/,
    instead: 'flush interval',
  },
  { pattern: /\bremains?Keeper\b|\bRemains\w*/, instead: 'retention record' },
  { pattern: /\bstands\(/, instead: 'confirmMaster' },
  { pattern: /\b\w*Elsewhere\b|\belsewhere\b/, instead: 'moved, redirected' },
  { pattern: /\bRounds\b/, instead: 'BatchRunner' },
  { pattern: /\bdeaf\b/, instead: 'unsubscribe' },
  { pattern: /\bcompanyOf\b/, instead: 'quorumOf' },
  { pattern: /\bHow(ToAdd|ItWent)\b/, instead: 'AddOptions, AddResult' },
  { pattern: /\bcarryOut\b|\bisMeant\b/, instead: 'apply, isAddressedTo' },
  { pattern: /\bDesk\b/, instead: 'LedgerPort' },
  { pattern: /\.look\(/, instead: 'check' },
  { pattern: /\bgiven(InVain|Back)\b|\bgiveBack\b/, instead: 'releaseUnused, rerouted' },
  { pattern: /\bwish(es)?\b|\bwanted\b/, instead: 'demand, desired' },
  { pattern: /\bquiet\b|\bisQuiet\b|\bquietOf\b/, instead: 'idle' },
  { pattern: /\btold\b|\btold[A-Z]\w*/, instead: 'notified' },
  { pattern: /\bshed(ding)?\b/, instead: 'evict' },
  { pattern: /\bturn(ed)?Away\b/, instead: 'reject' },
  { pattern: /\bPlaces\b/, instead: 'ChannelKeys, ConnectionCounts' },
  { pattern: /\bpassing[A-Z]\w*|\bisPassing\b/, instead: 'ephemeral' },
  {
    pattern: /\b(FormerKeys|ChannelCensus|TenantState|InboxOwner)\b/,
    instead: 'RetiredKeys, ActiveChannels, TenantRuntime',
  },
  {
    pattern: /\b(SecretKeeper|CatalogKeeper|RemainsKeeper|GatewaysProof|GatewaysView)\b/,
    instead: 'see the folders of src/controller',
  },
  {
    pattern: /\bsendAway\b|\bisRedisTrouble\b|\bliesElsewhere\b/,
    instead: 'closeGradually, isRedisUnavailable',
  },
]

const files = execFileSync(
  'git',
  ['ls-files', '--cached', '--others', '--exclude-standard', 'src', 'docs', '*.md'],
  {
    cwd: root,
    encoding: 'utf8',
  },
)
  .split('\n')
  // The changelog names what was renamed.
  .filter((file) => /\.(ts|md)$/.test(file) && file !== 'CHANGELOG.md' && existsSync(root + file))

/** Blanks comments and the contents of strings, so that columns and lines stay. */
export function codeOnly(text: string): string {
  const blank = (part: string): string => part.replaceAll(/[^\n]/g, ' ')
  return text.replaceAll(
    /\/\*[^]*?\*\/|\/\/[^\n]*|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g,
    (part) => (part.startsWith('`') ? part.replaceAll(/(^|\})[^$]*?(\$\{|`$)/g, blank) : blank(part)),
  )
}

function found(text: string, retired: readonly Retired[]): string[] {
  return text
    .split('\n')
    .flatMap((line, index) =>
      retired
        .filter(({ pattern }) => pattern.test(line))
        .map(({ instead, pattern }) => `${index + 1}: ${pattern.exec(line)?.[0].trim()} (say: ${instead})`),
    )
}

describe('vocabulary', () => {
  test('no file of src or docs uses a retired word or phrase', () => {
    const places = files.flatMap((file) =>
      found(readFileSync(root + file, 'utf8'), anywhere).map((place) => `${file}:${place}`),
    )
    expect(places).toEqual([])
  })

  test('no code of src uses a retired identifier', () => {
    const places = files
      .filter((file) => file.startsWith('src/') && file.endsWith('.ts'))
      .flatMap((file) =>
        found(codeOnly(readFileSync(root + file, 'utf8')), identifiers).map((place) => `${file}:${place}`),
      )
    expect(places).toEqual([])
  })

  test.each([
    ['const wish = 1', 1],
    ['// a wish in a comment is free', 0],
    ["const text = 'as you wish'", 0],
    ['const text = `as you wish ${wish}`', 1],
    ['/** A wish. */ const x = told', 1],
    ['const heartbeats = heartbeatMs', 0],
  ])('a seeded identifier is found in code alone: %s', (line, count) => {
    expect(found(codeOnly(line), identifiers)).toHaveLength(count)
  })

  test.each(['// whoever reads this', 'a door of the gateway', 'It makes no sense.', 'so many per second'])(
    'a seeded phrase is found anywhere: %s',
    (line) => {
      expect(found(line, anywhere)).toHaveLength(1)
    },
  )
})
