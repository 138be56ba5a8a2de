// One layer of a spiking network: one weight a clock, one value of its output after the other. Verilog-2001.
//
// A dense layer has one place and its inputs as channels; a convolution visits a window for every place; a pool adds up the
// window of its own channel; the readout keeps its sums from step to step. `start` begins a step; `done` is 1 for the
// clock in which it ends. x is read from the layer before, a clock after its address; y is read by the next layer likewise.
module @name@_layer #(
    parameter NEURONS = 1,  // 1: leaky integrate-and-fire neurons; 0: the sums are sent on
    parameter READOUT = 0,  // 1: y is the score of the steps so far
    parameter POOL = 0,     // 1: no weights, every output channel reads its own input channel
    parameter SHARED = 0,   // 1: one weight for all positions of an input channel
    parameter CHANNELS = 1, parameter ROWS = 1, parameter COLUMNS = 1,
    parameter X_CHANNELS = 1, parameter X_ROWS = 1, parameter X_COLUMNS = 1,
    parameter KERNEL_ROWS = 1, parameter KERNEL_COLUMNS = 1,
    parameter STRIDE_ROWS = 1, parameter STRIDE_COLUMNS = 1,
    parameter PADDING_ROWS = 0, parameter PADDING_COLUMNS = 0,
    parameter COUNTER_BITS = 1, parameter X_BITS = 1, parameter X_PLACE_BITS = 1,
    parameter Y_BITS = 1, parameter Y_PLACE_BITS = 1,
    parameter WEIGHTS = 1, parameter WEIGHT_BITS = 8, parameter WEIGHT_PLACE_BITS = 1, parameter WEIGHT_FILE = "",
    // Per channel, from the highest bit: multiplier (15), shift (6), bias, threshold (STATE_BITS each; READOUT: bias of 32).
    // A multiplier or shift that all channels share is a parameter; -1: read it from the file.
    parameter CHANNEL_FILE = "", parameter CHANNEL_BITS = 1, parameter MULTIPLIER = -1, parameter SHIFT = -1,
    parameter SUM_BITS = 16,      // of every weighted sum, proven
    parameter PRODUCT_BITS = 32,  // of a sum times its multiplier, rounded
    parameter GAIN_BITS = 32,     // of the register behind that multiplication: no more than the product has
    parameter UPDATE_BITS = 32,   // of a membrane before overflow, or of a score
    parameter STATE_BITS = 16,    // of a membrane, or of the readout's sums
    parameter LEAK_MULTIPLIER = 1, parameter LEAK_SHIFT = 0, parameter LEAK_ROUNDING = 0,  // 0 floor, 1 nearest, 2 toward zero
    parameter LEAK_BITS = 18,     // of the register behind that multiplication: no more than the product has
    parameter WRAP = 0,           // 0: saturate
    parameter ABOVE = 0,          // 1: a spike where the membrane is above its threshold; 0: also at it
    parameter RESET = 1,          // 0 none, 1 subtract, 2 to zero
    parameter DELAY = 1           // of the reset, in steps
) (
    input wire clk,
    input wire rst,
    input wire start,
    input wire first,  // the first step of a recording: every state counts as 0
    output reg done,
    output wire [X_PLACE_BITS-1:0] x_place,
    input wire [X_BITS-1:0] x,
    input wire [Y_PLACE_BITS-1:0] y_place,
    output reg [Y_BITS-1:0] y
);
    localparam IDLE = 3'd0, SUM = 3'd1, DRAIN = 3'd2, GAIN = 3'd3, UPDATE = 3'd4;
    localparam OUTPUTS = CHANNELS * ROWS * COLUMNS;
    localparam ORIGIN = -PADDING_ROWS * X_COLUMNS - PADDING_COLUMNS;
    // Steps of the input's place: within a window, and from window to window.
    localparam NEXT_ROW = X_COLUMNS - KERNEL_COLUMNS + 1;
    localparam NEXT_CHANNEL = X_ROWS * X_COLUMNS - (KERNEL_ROWS - 1) * X_COLUMNS - KERNEL_COLUMNS + 1;
    localparam NEXT_WINDOW_ROW = STRIDE_ROWS * X_COLUMNS - (COLUMNS - 1) * STRIDE_COLUMNS;
    localparam NEXT_OUTPUT = (POOL ? X_ROWS * X_COLUMNS : 0)
                             - (ROWS - 1) * STRIDE_ROWS * X_COLUMNS - (COLUMNS - 1) * STRIDE_COLUMNS;
    localparam LEAK_HALF = LEAK_ROUNDING == 1 && LEAK_SHIFT > 0 ? (1 << LEAK_SHIFT) / 2 : 0;

    // Signed operands of different widths meet below; each is extended by its sign to a width that was proven to suffice.
    // verilator lint_off WIDTH
    reg [2:0] state;
    reg [COUNTER_BITS-1:0] channel, row, column, x_channel, kernel_row, kernel_column;
    reg signed [COUNTER_BITS+1:0] top, left;             // of the window
    reg signed [X_PLACE_BITS+1:0] window_place, place;   // of the window's first input, and of the current one
    reg [WEIGHT_PLACE_BITS-1:0] channel_weight, weight_place;
    reg [Y_PLACE_BITS-1:0] output_place;
    reg fetched;
    reg signed [SUM_BITS-1:0] sum;

    wire signed [COUNTER_BITS+1:0] x_row = top + $signed({2'b0, kernel_row});
    wire signed [COUNTER_BITS+1:0] x_column = left + $signed({2'b0, kernel_column});
    wire covered = x_row >= 0 && x_row < X_ROWS && x_column >= 0 && x_column < X_COLUMNS;
    wire last_column = kernel_column == KERNEL_COLUMNS - 1;
    wire last_row = last_column && kernel_row == KERNEL_ROWS - 1;
    wire last_input = last_row && x_channel == X_CHANNELS - 1;
    wire last_window_column = column == COLUMNS - 1;
    wire last_window = last_window_column && row == ROWS - 1;

    assign x_place = place[X_PLACE_BITS-1:0];

    // The memories: weights, numbers per channel, the state, the output. All are read a clock after the address.
    reg signed [WEIGHT_BITS-1:0] weight;
    generate
        if (POOL) begin : ones
            always @(posedge clk) weight <= 1;
        end else begin : weights
            reg [WEIGHT_BITS-1:0] rom [0:WEIGHTS-1];
            initial $readmemh(WEIGHT_FILE, rom);
            always @(posedge clk) weight <= rom[weight_place];
        end
    endgenerate

    reg [CHANNEL_BITS-1:0] numbers;
    reg signed [STATE_BITS-1:0] kept;
    wire updated = state == UPDATE;
    wire signed [STATE_BITS-1:0] membrane;  // after the step
    generate
        if (NEURONS || READOUT) begin : channels
            reg [CHANNEL_BITS-1:0] rom [0:CHANNELS-1];
            reg [STATE_BITS-1:0] states [0:OUTPUTS-1];
            initial $readmemh(CHANNEL_FILE, rom);
            always @(posedge clk) begin
                numbers <= rom[channel];
                kept <= states[output_place];
                if (updated) states[output_place] <= membrane;
            end
        end else begin : none
            always @(posedge clk) begin
                numbers <= 0;
                kept <= 0;
            end
        end
    endgenerate

    wire [Y_BITS-1:0] sent;
    reg [Y_BITS-1:0] outputs [0:OUTPUTS-1];
    always @(posedge clk) begin
        y <= outputs[y_place];
        if (updated) outputs[output_place] <= sent;
    end

    // The arithmetic. A register behind a multiplication has no more bits than the product and is extended behind it: `synth_ice40
    // -dsp` of Yosys puts it into the multiplier's cell, and of a wider one it leaves the copies of the sign without a driver.
    wire signed [WEIGHT_BITS+X_BITS:0] product = weight * $signed({1'b0, x});
    wire signed [STATE_BITS-1:0] previous = first ? {STATE_BITS{1'b0}} : kept;
    wire spike;
    generate
        if (NEURONS || READOUT) begin : arithmetic
            localparam VALUE_BITS = READOUT ? 32 : STATE_BITS;
            localparam SHIFT_PLACE = CHANNEL_BITS - 21;
            wire signed [15:0] multiplier = MULTIPLIER >= 0 ? MULTIPLIER : {1'b0, numbers[CHANNEL_BITS-1 -: 15]};
            wire [5:0] shift = SHIFT >= 0 ? SHIFT : numbers[SHIFT_PLACE +: 6];
            wire signed [PRODUCT_BITS-1:0] one = 1;
            wire signed [PRODUCT_BITS-1:0] half = (one <<< shift) >>> 1;
            wire signed [VALUE_BITS-1:0] bias = numbers[SHIFT_PLACE-1 -: VALUE_BITS];
            reg signed [GAIN_BITS-1:0] gain_product;
            wire signed [PRODUCT_BITS-1:0] gained = gain_product;
            wire signed [PRODUCT_BITS-1:0] rounded = gained + half;
            wire signed [PRODUCT_BITS-1:0] shifted = rounded >>> shift;
            wire signed [UPDATE_BITS-1:0] current = shifted[UPDATE_BITS-1:0];
            if (READOUT) begin : scores
                wire signed [STATE_BITS-1:0] total = previous + sum;
                wire signed [UPDATE_BITS-1:0] score = current + bias;
                always @(posedge clk) gain_product <= total * multiplier;
                assign membrane = total;
                assign spike = 1'b0;
                assign sent = score;
            end else begin : neurons
                localparam LEAKED_BITS = STATE_BITS + LEAK_SHIFT + 2;
                localparam signed [UPDATE_BITS-1:0] HIGHEST = (1 <<< (STATE_BITS - 1)) - 1;
                localparam signed [UPDATE_BITS-1:0] LOWEST = -HIGHEST - 1;
                localparam signed [LEAK_SHIFT+1:0] FACTOR = LEAK_MULTIPLIER;
                wire signed [STATE_BITS-1:0] threshold = numbers[STATE_BITS-1:0];
                reg signed [LEAK_BITS-1:0] leak_product;
                wire signed [LEAKED_BITS-1:0] leaking = leak_product;
                wire signed [LEAKED_BITS-1:0] size = LEAK_ROUNDING == 2 && leaking < 0 ? -leaking : leaking + LEAK_HALF;
                wire signed [LEAKED_BITS-1:0] scaled = size >>> LEAK_SHIFT;
                wire signed [LEAKED_BITS-1:0] leak = LEAK_ROUNDING == 2 && leaking < 0 ? -scaled : scaled;
                // Spikes are not stored: the membrane before this step tells whether it had fired.
                wire fired = DELAY == 1 && (ABOVE ? previous > threshold : previous >= threshold);
                wire signed [UPDATE_BITS-1:0] remaining = RESET == 2 && fired ? 0 : leak;
                wire signed [UPDATE_BITS-1:0] taken = RESET == 1 && fired ? threshold : 0;
                wire signed [UPDATE_BITS-1:0] update = remaining + current + bias - taken;
                wire signed [STATE_BITS-1:0] held = WRAP ? update[STATE_BITS-1:0]
                    : update > HIGHEST ? HIGHEST[STATE_BITS-1:0] : update < LOWEST ? LOWEST[STATE_BITS-1:0] : update[STATE_BITS-1:0];
                wire signed [STATE_BITS-1:0] after = RESET == 1 ? held - threshold : RESET == 2 ? {STATE_BITS{1'b0}} : held;
                always @(posedge clk) begin
                    gain_product <= sum * multiplier;
                    leak_product <= previous * FACTOR;
                end
                assign spike = ABOVE ? held > threshold : held >= threshold;
                assign membrane = DELAY == 0 && spike ? after : held;
                assign sent = spike;
            end
        end else begin : plain
            assign membrane = 0;
            assign spike = 1'b0;
            assign sent = sum[Y_BITS-1:0];
        end
    endgenerate

    // The visits: every output, and for each every input of its window.
    always @(posedge clk) begin
        done <= 1'b0;
        fetched <= 1'b0;
        if (fetched) sum <= sum + product;
        case (state)
            IDLE: if (start) begin
                state <= SUM;
                channel <= 0;
                row <= 0;
                column <= 0;
                x_channel <= 0;
                kernel_row <= 0;
                kernel_column <= 0;
                top <= -PADDING_ROWS;
                left <= -PADDING_COLUMNS;
                window_place <= ORIGIN;
                place <= ORIGIN;
                channel_weight <= 0;
                weight_place <= 0;
                output_place <= 0;
                sum <= 0;
            end
            SUM: begin
                fetched <= covered;
                if (!SHARED || last_row) weight_place <= weight_place + 1'b1;
                kernel_column <= last_column ? 0 : kernel_column + 1'b1;
                if (last_column) kernel_row <= last_row ? 0 : kernel_row + 1'b1;
                if (last_row) x_channel <= last_input ? 0 : x_channel + 1'b1;
                place <= place + (last_row ? NEXT_CHANNEL : last_column ? NEXT_ROW : 1);
                if (last_input) state <= DRAIN;
            end
            DRAIN: state <= GAIN;
            GAIN: state <= UPDATE;
            UPDATE: begin
                state <= SUM;
                sum <= 0;
                output_place <= output_place + 1'b1;
                column <= last_window_column ? 0 : column + 1'b1;
                if (last_window_column) row <= last_window ? 0 : row + 1'b1;
                left <= last_window_column ? -PADDING_COLUMNS : left + STRIDE_COLUMNS;
                if (last_window_column) top <= last_window ? -PADDING_ROWS : top + STRIDE_ROWS;
                window_place <= window_place + (last_window ? NEXT_OUTPUT : last_window_column ? NEXT_WINDOW_ROW : STRIDE_COLUMNS);
                place <= window_place + (last_window ? NEXT_OUTPUT : last_window_column ? NEXT_WINDOW_ROW : STRIDE_COLUMNS);
                if (last_window) begin
                    channel <= channel + 1'b1;
                    channel_weight <= weight_place;
                    if (channel == CHANNELS - 1) begin
                        state <= IDLE;
                        done <= 1'b1;
                    end
                end else begin
                    weight_place <= channel_weight;
                end
            end
            default: state <= IDLE;
        endcase
        if (rst) begin
            state <= IDLE;
            done <= 1'b0;
        end
    end
    // verilator lint_on WIDTH
endmodule
