// The rules of the house. oxlint finds only JSON or (on a newer Node) TypeScript by itself, so it is run by name, as
// `npm run lint`. This is a module because rooms and doors are tables: as JSON every row would be written out in full,
// since an override replaces a rule's options and never adds to them.

/**
 * The rooms that each room may import, besides itself and the leaves (`src/*.ts`, which import no other file of Parley).
 * The rooms are listed from the lowest floor to the highest; an arrow never points upward.
 * @type {Record<string, string[]>}
 */
const rooms = {
  redis: [],
  tenant: [],
  broker: [],
  resources: ['tenant'],
  protocol: ['seams'],
  quota: [],
  catalog: ['resources', 'tenant'],
  presence: ['seams'],
  auth: ['tenant'],
  kube: [],
  compile: ['catalog', 'resources', 'tenant'],
  session: ['quota', 'protocol', 'tenant', 'auth', 'seams'],
  controller: ['kube', 'compile', 'catalog', 'resources', 'tenant', 'redis'],
  gateway: ['session', 'protocol', 'catalog', 'quota', 'tenant', 'auth', 'seams'],
  load: [],
  cli: [
    'load',
    'protocol',
    'quota',
    'catalog',
    'compile',
    'resources',
    'tenant',
    'auth',
    'broker',
    'presence',
    'redis',
    'session',
    'gateway',
    'kube',
    'controller',
  ],
  web: [],
}

/**
 * The rooms of which the word `seams` opens one file: an interface without an implementation.
 * @type {Record<string, string>}
 */
const seams = { broker: 'broker/broker.js', presence: 'presence/presence.js' }

/** The rooms whose folder `redis/` holds an implementation on Redis: that folder alone may import src/redis. */
const onRedis = ['broker', 'presence', 'catalog', 'quota']

/** One vendor, one door: the file, the room, or the files of one beginning, that alone import the package. */
const doors = {
  ws: 'src/gateway/websocket.ts',
  '@bufbuild/protobuf': 'src/protocol/centrifuge/protobuf-message.ts',
  ioredis: 'src/redis/',
  'cluster-key-slot': 'src/redis/',
  jose: 'src/auth/',
  'prom-client': 'src/metrics',
  pino: 'src/log.ts',
  '@kubernetes/client-node': 'src/kube/',
  yaml: 'src/resources/yaml.ts',
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
 * Refuses every room but `allowed`. An import is matched as it is written: a folder inside a room that has another
 * room's name, such as `catalog/redis/`, counts as that other room.
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

const redisImports = onRedis.map((room) =>
  imports(
    [`src/${room}/redis/**`],
    [
      ...arrowsOf(room, [...(rooms[room] ?? []), 'redis']),
      ...doorsAt(`src/${room}/redis/`),
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

/**
 * What the tests of a room may import besides.
 * @type {Record<string, string[]>}
 */
const forTests = { catalog: ['compile'] }

// Tests keep the arrows, but may use any vendor and a real implementation behind a seam.
const testImports = Object.entries(rooms).map(([room, allowed]) =>
  imports(
    [`src/${room}/**/${testFiles}`],
    arrowsOf(room, [
      ...allowed,
      ...(forTests[room] ?? []),
      ...(allowed.includes('seams') ? Object.keys(seams) : []),
    ]),
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
    'import/no-cycle': ['error', { ignoreTypes: false }],
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
