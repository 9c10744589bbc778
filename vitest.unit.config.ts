// The inner loop: `npm run test:unit` runs the tests beside the source that need nothing but Node. A test
// beside the source that needs a service (Redis, an API server, a browser) or the built program is called
// `*.service.test.ts`.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts'],
    exclude: ['src/**/*.service.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 90_000,
    hookTimeout: 90_000,
    expect: { poll: { timeout: 45_000 } },
    restoreMocks: true,
    passWithNoTests: false,
    allowOnly: false,
  },
})
