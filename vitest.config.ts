import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    // These suites need further programs (a Kubernetes cluster, SDKs of other languages) or much time, and
    // have their own commands.
    exclude: ['test/{faults,e2e,sdk}/**'],
    // Tests run in processes, not threads, so that sockets, signals and child processes behave as in
    // production.
    pool: 'forks',
    maxWorkers: 2,
    // The timeouts are long, so that tests pass on a busy machine.
    testTimeout: 90_000,
    hookTimeout: 90_000,
    expect: { poll: { timeout: 45_000 } },
    restoreMocks: true,
    passWithNoTests: false,
    // A forgotten `.only` would disable all other tests.
    allowOnly: false,
    reporters: ['default', 'json'],
    outputFile: { json: '.test-results/vitest.json' },
    // `include` is set per project, because a project's `include` would be added to one set here.
    projects: [
      { extends: true, test: { name: 'parley', include: ['src/**/*.test.ts', 'test/**/*.test.ts'] } },
      // Runs the tests of the official client a second time with its protobuf codec.
      {
        extends: true,
        test: { name: 'protobuf', include: ['test/centrifuge/sdk-*.test.ts'], provide: { wire: 'protobuf' } },
      },
    ],
  },
})
