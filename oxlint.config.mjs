// The lint rules. Run them with `npm run lint`: oxlint finds only JSON or (on a newer Node) TypeScript
// configurations by itself. This file is a module, because rooms and vendors are tables. In JSON, every row
// would have to be written out in full, since an override replaces the options of a rule and never adds to
// them.

/**
 * The rooms (folders of src) that each room may import, besides itself and the leaves (`src/*.ts`, which
 * import no other file of Parley). The rooms are listed from the lowest level to the highest; a room never
 * imports a higher one.
 * @type {Record<string, string[]>}
 */
const rooms = {
  redis: [],
  tenant: [],
  broker: [],
  resources: ['tenant'],
  protocol: ['seams'],
  quota: ['tenant'],
  catalog: ['resources', 'tenant'],
  presence: ['seams'],
  auth: ['tenant'],
  revocation: ['tenant'],
  kube: [],
  compile: ['catalog', 'resources', 'tenant'],
  session: ['quota', 'protocol', 'tenant', 'auth', 'revocation', 'seams'],
  controller: ['kube', 'compile', 'catalog', 'resources', 'tenant', 'redis'],
  gateway: ['session', 'protocol', 'catalog', 'quota', 'tenant', 'auth', 'revocation', 'seams'],
  load: [],
  cli: [
    'load',
    'protocol',
    'quota',
    'catalog',
    'revocation',
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
 * The files that `seams` allows: for each of these rooms the files with its interfaces, without
 * implementations.
 * @type {Record<string, string[]>}
 */
const seams = { broker: ['broker/broker.js', 'broker/storage.js'], presence: ['presence/presence.js'] }

/**
 * The rooms whose folder `redis/` contains an implementation on Redis. Only that folder may import src/redis.
 */
const onRedis = ['broker', 'presence', 'catalog', 'quota', 'revocation']

/** The only place that may import each vendor package: a file, a room, or all files with a common prefix. */
const vendors = {
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

/** Files that are not part of dist. tsconfig.build.json excludes the same files. */
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

const leafImports = [{ regex: String.raw`^\.`, message: 'A leaf imports no other file of Parley.' }]

/**
 * Returns patterns that refuse imports of every room except `allowed`. The patterns match an import as it is
 * written: a folder inside a room that has another room's name, such as `catalog/redis/`, counts as that
 * other room.
 * @param {string} room
 */
function roomPatterns(room, allowed = rooms[room] ?? []) {
  return Object.keys(rooms)
    .filter((other) => other !== room && !allowed.includes(other))
    .map((other) => ({
      group: [
        `**/${other}/**`,
        ...(allowed.includes('seams') ? (seams[other] ?? []).map((file) => `!**/${file}`) : []),
      ],
      message: `Imports point inward: ${room} may import ${['the leaves', ...allowed].join(', ')}, and no other room.`,
    }))
}

/**
 * Returns patterns that refuse every vendor package that `path` may not import.
 * @param {string} path
 */
function vendorPatterns(path) {
  return Object.entries(vendors)
    .filter(([, owner]) => !path.startsWith(owner))
    .map(([vendor, owner]) => ({
      regex: `^${vendor}($|/)`,
      message: `Only ${owner} may import ${vendor}.`,
    }))
}

const imports = (files, patterns) => ({ files, rules: { 'no-restricted-imports': ['error', { patterns }] } })

const roomImports = Object.keys(rooms).map((room) =>
  imports(
    [`src/${room}/**`],
    [
      ...roomPatterns(room),
      ...vendorPatterns(`src/${room}/`),
      testHelpers,
      ...(room === 'cli' ? [] : [environment]),
    ],
  ),
)

const redisImports = onRedis.map((room) =>
  imports(
    [`src/${room}/redis/**`],
    [
      ...roomPatterns(room, [...(rooms[room] ?? []), 'redis']),
      ...vendorPatterns(`src/${room}/redis/`),
      testHelpers,
      environment,
    ],
  ),
)

const vendorImports = Object.values(vendors)
  .filter((owner) => !owner.endsWith('/'))
  .map((owner) => {
    const [, room = ''] = owner.split('/')
    return imports(
      [owner.endsWith('.ts') ? owner : `${owner}*.ts`],
      [
        ...(room in rooms ? roomPatterns(room) : leafImports),
        ...vendorPatterns(owner),
        testHelpers,
        environment,
      ],
    )
  })

/**
 * Rooms that the tests of a room may import in addition.
 * @type {Record<string, string[]>}
 */
const testRooms = { catalog: ['compile'] }

// Tests follow the rules for rooms, but may import any vendor package, and the implementations behind a seam.
const testImports = Object.entries(rooms).map(([room, allowed]) =>
  imports(
    [`src/${room}/**/${testFiles}`],
    roomPatterns(room, [
      ...allowed,
      ...(testRooms[room] ?? []),
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
    // Comments of ESLint have no effect: only those of oxlint disable a rule. test/project/repository.test.ts
    // requires a reason beside them.
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
    // `void` is not allowed either: every promise has an owner that handles its failure.
    'typescript/no-floating-promises': ['error', { ignoreVoid: false }],
    'typescript/no-misused-promises': 'error',
    'typescript/await-thenable': 'error',
    'typescript/only-throw-error': 'error',
    'typescript/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
    'unicorn/no-abusive-eslint-disable': 'error',
    'unicorn/prefer-node-protocol': 'error',

    // Off: the order is usually intended, as with consecutive writes or retries.
    'no-await-in-loop': 'off',
    // Off: `fc.array` and similar calls follow the documentation of their packages.
    'import/no-named-as-default': 'off',
    'import/no-named-as-default-member': 'off',
    // Off: `return this.#peer.close(code)` in a void function is concise, and tsc has noImplicitReturns.
    'typescript/consistent-return': 'off',
    // Off: a loop over a copy is intended where the loop body removes items from the original.
    'unicorn/no-useless-spread': 'off',
    // Off: spreading in map() creates copies on purpose.
    'oxc/no-map-spread': 'off',
    // Off: no-floating-promises and no-misused-promises use types and are more exact.
    'promise/always-return': 'off',
    // Off: a small function is easier to read next to its only use.
    'unicorn/consistent-function-scoping': 'off',
  },
  overrides: [
    {
      files: ['src/**'],
      rules: {
        // The hard limit. From 300 lines on, look for a part to move to its own file.
        'max-lines': ['error', { max: 400 }],
        'no-console': 'error',
        'no-restricted-properties': [
          'error',
          { object: 'process', property: 'env', message: environment.message },
        ],
      },
    },
    {
      files: [vendors.ws],
      rules: {
        // ws has no public count of the bytes of an unfinished message, which the memory ceiling counts.
        'no-underscore-dangle': ['error', { allow: ['_receiver', '_bufferedBytes', '_messageLength'] }],
      },
    },
    { files: ['src/cli/**'], rules: { 'no-console': 'off', 'no-restricted-properties': 'off' } },
    // prom-client registers a metric by constructing it.
    { files: ['src/metrics*.ts'], rules: { 'no-new': 'off' } },
    {
      files: ['src/web/**'],
      env: { browser: true, node: false },
      // In a browser, an unhandled rejection is logged to the console; in Node it would end the process.
      rules: { 'typescript/no-floating-promises': ['error', { ignoreVoid: true }] },
    },
    imports(['src/*.ts'], [...leafImports, ...vendorPatterns('src/'), testHelpers, environment]),
    ...roomImports,
    ...redisImports,
    ...vendorImports,
    // The chat page runs in browsers, so it imports no Node module, no room and no schema library.
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
        // fast-check asserts properties, and helpers named assert… or expect… contain assertions.
        'vitest/expect-expect': [
          'error',
          { assertFunctionNames: ['expect', 'fc.assert', 'assert*', 'expect*'] },
        ],
        // Off: contract suites assert in functions that the tests call.
        'vitest/no-standalone-expect': 'off',
        'vitest/no-conditional-expect': 'off',
        'vitest/require-mock-type-parameters': 'off',
        // Off: a fake needs a type assertion to the type that it replaces.
        'typescript/no-unsafe-type-assertion': 'off',
        'typescript/unbound-method': 'off',
      },
    },
    // In browser tests, waiting for a visible element is the assertion: it fails when the element does not
    // appear.
    { files: ['test/browser/**'], rules: { 'vitest/expect-expect': 'off' } },
    imports([`src/${testFiles}`], []),
    ...testImports,
    imports(
      ['test/**'],
      [{ group: ['**/src/cli/**'], message: 'Tests must not import src/cli: they start the program.' }],
    ),
    // Tools read their configuration from a default export.
    { files: ['*.config.{ts,mjs}', 'knip.ts'], rules: { 'import/no-default-export': 'off' } },
    {
      files: ['scripts/**', 'bench/**'],
      rules: { 'no-console': 'off', 'typescript/no-unsafe-type-assertion': 'off' },
    },
  ],
}
