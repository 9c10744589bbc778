import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    // Suites with needs of their own (a Redis trio, a cluster, other languages' clients) are run by name.
    exclude: ['test/{faults,e2e,sdk}/**'],
    // Processes rather than threads: sockets, signals and child processes behave as in production.
    pool: 'forks',
    maxWorkers: 2,
    // A busy machine is slow, not wrong.
    testTimeout: 90_000,
    hookTimeout: 90_000,
    expect: { poll: { timeout: 45_000 } },
    restoreMocks: true,
    passWithNoTests: false,
    // One forgotten `.only` would silence all the others.
    allowOnly: false,
    reporters: ['default', 'json'],
    outputFile: { json: '.test-results/vitest.json' },
    // A project's own `include` would be added to one that stood above.
    projects: [
      { extends: true, test: { name: 'parley', include: ['src/**/*.test.ts', 'test/**/*.test.ts'] } },
      // The same tests of the official client again, which speaks protobuf this time.
      {
        extends: true,
        test: { name: 'protobuf', include: ['test/centrifuge/sdk-*.test.ts'], provide: { wire: 'protobuf' } },
      },
    ],
  },
})
