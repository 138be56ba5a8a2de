/*
 * The program on a Cortex-M, without an operating system: reads recordings.bin from the host by semihosting and prints the
 * same lines as main.c; then, to stderr, what it took.
 *
 * Time is read from SysTick, around the steps and the scores alone. Under qemu with -icount shift=6 every instruction
 * takes 64 ns, and SysTick of the board mps2-an386 counts at 25 MHz: 8 ticks are 5 instructions. On a real processor
 * SysTick counts cycles: define INSTRUCTIONS(ticks) as (ticks) there.
 */
#include "@name@.h"

#ifndef INSTRUCTIONS
#define INSTRUCTIONS(ticks) ((ticks) / 8 * 5 + (ticks) % 8 * 5 / 8)
#endif

#define SYSTICK_CONTROL (*(volatile uint32_t *)0xe000e010u)
#define SYSTICK_RELOAD (*(volatile uint32_t *)0xe000e014u)
#define SYSTICK_VALUE (*(volatile uint32_t *)0xe000e018u)
#define SYSTICK_END 0xffffffu
#define ACCESS_CONTROL (*(volatile uint32_t *)0xe000ed88u)

enum { OPEN = 0x01, WRITE = 0x05, READ = 0x06, EXIT = 0x20 }; /* operations of semihosting */
enum { READ_BINARY = 1, WRITE_TEXT = 4, APPEND_TEXT = 8 };

extern uint32_t bss_begin[], bss_end[], stack_end[];

static const char *const classes[@NAME@_CLASSES] = {
    @classes@
};

static @name@_state state;
static @name@_event events[@NAME@_INPUTS];
static uint8_t counts[@NAME@_INPUTS];
static volatile uint32_t wraps;
static uintptr_t output, statistics;

static uintptr_t host(uintptr_t operation, const uintptr_t *arguments)
{
    register uintptr_t r0 __asm__("r0") = operation;
    register const uintptr_t *r1 __asm__("r1") = arguments;

    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static uintptr_t opened(const char *name, uintptr_t mode)
{
    uintptr_t arguments[3] = {(uintptr_t)name, mode, 0};

    while (name[arguments[2]] != '\0') {
        arguments[2]++;
    }
    return host(OPEN, arguments);
}

static void text(uintptr_t file, const char *letters)
{
    uintptr_t arguments[3] = {file, (uintptr_t)letters, 0};

    while (letters[arguments[2]] != '\0') {
        arguments[2]++;
    }
    host(WRITE, arguments);
}

static void number(uintptr_t file, int64_t value)
{
    char digits[24];
    char *first = digits + sizeof digits - 1;
    uint64_t rest = value < 0 ? 0u - (uint64_t)value : (uint64_t)value;

    *first = '\0';
    do {
        *--first = (char)('0' + rest % 10u);
        rest /= 10u;
    } while (rest > 0);
    if (value < 0) {
        *--first = '-';
    }
    text(file, first);
}

static void finish(uintptr_t status)
{
    const uintptr_t arguments[2] = {0x20026u, status};

    for (;;) {
        host(EXIT, arguments);
    }
}

/* Ticks since the start, modulo 2^32. */
static uint32_t now(void)
{
    uint32_t before, value;

    do {
        before = wraps;
        value = SYSTICK_VALUE;
    } while (before != wraps);
    return (before << 24) + (SYSTICK_END - value);
}

static uint32_t active(void)
{
    uint32_t n, length = 0;

    for (n = 0; n < @NAME@_INPUTS; n++) {
        if (counts[n] > 0) {
            events[length].index = (@index@)n;
            events[length++].count = counts[n];
        }
    }
    return length;
}

static void answer(uint32_t ticks)
{
    int32_t scores[@NAME@_CLASSES];
    const uint32_t begin = now();
    uint32_t n, predicted;

    @name@_scores(&state, scores);
    predicted = @name@_predicted(scores);
    ticks += now() - begin;
    number(output, (int64_t)predicted);
    text(output, " ");
    text(output, classes[predicted]);
    text(output, ":");
    for (n = 0; n < @NAME@_CLASSES; n++) {
        text(output, " ");
        number(output, scores[n]);
    }
    text(output, "\n");
    number(statistics, (int64_t)INSTRUCTIONS(ticks));
    text(statistics, " instructions");
#ifdef @NAME@_COUNT
    text(statistics, ", synops:");
    for (n = 0; n < sizeof state.synops / sizeof state.synops[0]; n++) {
        text(statistics, " ");
        number(statistics, state.synops[n]);
    }
#endif
    text(statistics, "\n");
}

static void run(void)
{
    uintptr_t arguments[3] = {0, (uintptr_t)counts, sizeof counts};
    uint32_t begin, length, ticks = 0;

    output = opened(":tt", WRITE_TEXT);
    statistics = opened(":tt", APPEND_TEXT);
    arguments[0] = opened("recordings.bin", READ_BINARY);
    if (arguments[0] == UINTPTR_MAX) {
        text(statistics, "recordings.bin: cannot be opened.\n");
        finish(1);
    }
    SYSTICK_RELOAD = SYSTICK_END;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 7; /* the processor's clock, with the interrupt that counts wraps */
    @name@_reset(&state);
    while (host(READ, arguments) == 0) { /* the bytes that were not read */
        length = active();
        begin = now();
        @name@_step(&state, events, length);
        ticks += now() - begin;
        if (state.steps == @NAME@_TIME_BINS) {
            answer(ticks);
            @name@_reset(&state);
            ticks = 0;
        }
    }
    finish(state.steps > 0);
}

static void reset(void)
{
    uint32_t *word;

    for (word = bss_begin; word < bss_end; word++) {
        *word = 0;
    }
    ACCESS_CONTROL |= 0xfu << 20; /* a floating-point unit, where there is one; the program needs none */
    run();
}

static void wrapped(void)
{
    wraps++;
}

static void fault(void)
{
    finish(2);
}

typedef struct {
    uint32_t *stack;
    void (*handlers[15])(void);
} vector_table;

__attribute__((section(".vectors"), used)) static const vector_table vectors = {
    stack_end,
    {reset, fault, fault, fault, fault, fault, 0, 0, 0, 0, fault, fault, 0, fault, wrapped},
};
