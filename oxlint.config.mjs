// The rules of the house. oxlint finds only JSON or (on a newer Node) TypeScript by itself, so it is run by name, as
// `npm run lint`. This is a module because rooms and doors are tables: as JSON every row would be written out in full,
// since an override replaces a rule's options and never adds to them.

/**
 * What each room may import besides itself and the leaves (`src/*.ts`, which import nothing of ours).
 * @type {Record<string, string[]>}
 */
const rooms = {
  protocol: ['seams'],
  tenant: [],
  auth: ['tenant'],
  broker: [],
  presence: ['seams'],
  redis: [],
  session: ['protocol', 'tenant', 'auth', 'seams'],
  gateway: ['session', 'protocol', 'tenant', 'auth', 'seams'],
  controller: ['tenant', 'redis'],
  load: [],
  cli: [
    'load',
    'protocol',
    'tenant',
    'auth',
    'broker',
    'presence',
    'redis',
    'session',
    'gateway',
    'controller',
  ],
  web: [],
}

/**
 * Rooms that `seams` opens by one file alone: an interface without an implementation.
 * @type {Record<string, string>}
 */
const seams = { broker: 'broker/broker.js', presence: 'presence/presence.js' }

/** Implementations on Redis reach the room that owns the client; nothing else in their rooms does. */
const onRedis = { broker: 'redis*', presence: 'redis*', tenant: '*-redis*' }

/** One vendor, one door: the file, the room, or the files of one beginning, that alone import the package. */
const doors = {
  ws: 'src/gateway/websocket.ts',
  ioredis: 'src/redis/',
  'cluster-key-slot': 'src/redis/',
  jose: 'src/auth/',
  'prom-client': 'src/metrics',
  pino: 'src/log.ts',
  '@kubernetes/client-node': 'src/controller/',
  pg: 'src/broker/archive.ts',
  yaml: 'src/tenant/yaml.ts',
  commander: 'src/cli/',
  centrifuge: 'src/web/',
  'playwright-core': 'test/',
}

/** Files that never reach dist: tsconfig.build.json leaves out the same. */
const testFiles = '*.{test,contract,fake,testing}.ts'

const environment = {
  group: ['node:process', 'process'],
  importNames: ['env'],
  message: 'Only src/cli reads the environment; configuration comes in by the constructor.',
}

const testHelpers = {
  regex: String.raw`\.(test|contract|fake|testing)\.js$`,
  message: 'Test files are not in dist: the program cannot import them.',
}

const leafArrows = [{ regex: String.raw`^\.`, message: 'A leaf imports nothing of ours.' }]

/**
 * Every other room but `allowed` is refused.
 * @param {string} room
 */
function arrowsOf(room, allowed = rooms[room] ?? []) {
  return Object.keys(rooms)
    .filter((other) => other !== room && !allowed.includes(other))
    .map((other) => ({
      group: [
        `**/${other}/**`,
        ...(allowed.includes('seams') && other in seams ? [`!**/${seams[other]}`] : []),
      ],
      message: `Arrows point inward: ${room} imports ${['the leaves', ...allowed].join(', ')}, and nothing else of ours.`,
    }))
}

/**
 * Every vendor is refused whose door is not `place` itself or the room around it.
 * @param {string} place
 */
function doorsAt(place) {
  return Object.entries(doors)
    .filter(([, door]) => !place.startsWith(door))
    .map(([vendor, door]) => ({
      regex: `^${vendor}($|/)`,
      message: `One vendor, one door: ${vendor} is imported in ${door} only.`,
    }))
}

const imports = (files, patterns) => ({ files, rules: { 'no-restricted-imports': ['error', { patterns }] } })

const roomImports = Object.keys(rooms).map((room) =>
  imports(
    [`src/${room}/**`],
    [...arrowsOf(room), ...doorsAt(`src/${room}/`), testHelpers, ...(room === 'cli' ? [] : [environment])],
  ),
)

const redisImports = Object.entries(onRedis).map(([room, name]) =>
  imports(
    [`src/${room}/${name}.ts`],
    [
      ...arrowsOf(room, [...(rooms[room] ?? []), 'redis']),
      ...doorsAt(`src/${room}/`),
      testHelpers,
      environment,
    ],
  ),
)

const doorImports = Object.values(doors)
  .filter((door) => !door.endsWith('/'))
  .map((door) => {
    const [, room = ''] = door.split('/')
    return imports(
      [door.endsWith('.ts') ? door : `${door}*.ts`],
      [...(room in rooms ? arrowsOf(room) : leafArrows), ...doorsAt(door), testHelpers, environment],
    )
  })

// Tests keep the arrows, but may use any vendor and a real implementation behind a seam.
const testImports = Object.entries(rooms).map(([room, allowed]) =>
  imports(
    [`src/${room}/**/${testFiles}`],
    arrowsOf(room, allowed.includes('seams') ? [...allowed, ...Object.keys(seams)] : allowed),
  ),
)

export default {
  plugins: ['eslint', 'typescript', 'unicorn', 'oxc', 'import', 'node', 'promise', 'vitest'],
  categories: { correctness: 'error', suspicious: 'error', perf: 'error' },
  options: {
    typeAware: true,
    denyWarnings: true,
    reportUnusedDisableDirectives: 'error',
    // One word per thing: only `oxlint-disable` silences a rule. test/project/repository.test.ts wants the reason beside it.
    respectEslintDisableDirectives: false,
  },
  env: { node: true, es2024: true },
  ignorePatterns: ['dist', '.dist-*', 'node_modules', '.test-results'],
  rules: {
    eqeqeq: 'error',
    'no-var': 'error',
    'no-warning-comments': ['error', { terms: ['todo', 'fixme', 'xxx', 'hack'] }],
    'prefer-const': 'error',
    'import/no-cycle': 'error',
    'import/no-default-export': 'error',
    'oxc/no-barrel-file': ['error', { threshold: 0 }],
    'typescript/consistent-type-imports': 'error',
    'typescript/no-explicit-any': 'error',
    // Not even with `void`: every promise has an owner, who hears of its failure.
    'typescript/no-floating-promises': ['error', { ignoreVoid: false }],
    'typescript/no-misused-promises': 'error',
    'typescript/await-thenable': 'error',
    'typescript/only-throw-error': 'error',
    'typescript/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
    'unicorn/no-abusive-eslint-disable': 'error',
    'unicorn/prefer-node-protocol': 'error',

    // Off: an order is usually meant. One write after another, one retry after another.
    'no-await-in-loop': 'off',
    // Off: `fc.array` and its like read as their documentation writes them.
    'import/no-named-as-default': 'off',
    'import/no-named-as-default-member': 'off',
    // Off: `return this.#peer.close(code)` out of a void function reads well, and tsc has noImplicitReturns.
    'typescript/consistent-return': 'off',
    // Off: who walks over a copy means it, since what is called removes from the original.
    'unicorn/no-useless-spread': 'off',
    // Off: spreading in map() makes the copies that one wants.
    'oxc/no-map-spread': 'off',
    // Off: no-floating-promises and no-misused-promises know types; this one guesses.
    'promise/always-return': 'off',
    // Off: a small function beside its only use reads better than one far above it.
    'unicorn/consistent-function-scoping': 'off',
  },
  overrides: [
    {
      files: ['src/**'],
      rules: {
        // Past 300 lines look for a second noun; here it stops.
        'max-lines': ['error', { max: 400 }],
        'no-console': 'error',
        'no-restricted-properties': [
          'error',
          { object: 'process', property: 'env', message: environment.message },
        ],
      },
    },
    { files: ['src/cli/**'], rules: { 'no-console': 'off', 'no-restricted-properties': 'off' } },
    // prom-client registers a metric by constructing it.
    { files: ['src/metrics*.ts'], rules: { 'no-new': 'off' } },
    {
      files: ['src/web/**'],
      env: { browser: true, node: false },
      // In a browser a lost rejection ends up in the console; in Node it ends the process.
      rules: { 'typescript/no-floating-promises': ['error', { ignoreVoid: true }] },
    },
    imports(['src/*.ts'], [...leafArrows, ...doorsAt('src/'), testHelpers, environment]),
    ...roomImports,
    ...redisImports,
    ...doorImports,
    // The page goes to browsers: no Node, no room, no schema library.
    imports(
      ['src/web/**'],
      [
        {
          group: ['**', '!./**', '!centrifuge'],
          message: 'The chat page imports the package centrifuge and its own files.',
        },
      ],
    ),
    {
      files: [`**/${testFiles}`, 'test/**'],
      rules: {
        'max-lines': 'off',
        'no-restricted-properties': 'off',
        // Off: a property is asserted by fast-check, an eventual state by vi.waitFor.
        'vitest/expect-expect': [
          'error',
          { assertFunctionNames: ['expect', 'fc.assert', 'assert*', 'expect*'] },
        ],
        // Off: a contract suite expects in functions that tests call.
        'vitest/no-standalone-expect': 'off',
        'vitest/no-conditional-expect': 'off',
        'vitest/require-mock-type-parameters': 'off',
        // Off: a stand-in is by nature asserted to be what it stands in for.
        'typescript/no-unsafe-type-assertion': 'off',
        'typescript/unbound-method': 'off',
      },
    },
    // Waiting for what people should see is the assertion there: it fails when nothing comes.
    { files: ['test/browser/**'], rules: { 'vitest/expect-expect': 'off' } },
    imports([`src/${testFiles}`], []),
    ...testImports,
    imports(
      ['test/**'],
      [{ group: ['**/src/cli/**'], message: 'Nobody imports src/cli: tests start the program.' }],
    ),
    // Tools read their configuration from a default export.
    { files: ['*.config.{ts,mjs}', 'knip.ts'], rules: { 'import/no-default-export': 'off' } },
    {
      files: ['scripts/**', 'bench/**'],
      rules: { 'no-console': 'off', 'typescript/no-unsafe-type-assertion': 'off' },
    },
  ],
}
