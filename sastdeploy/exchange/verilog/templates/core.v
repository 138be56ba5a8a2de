// @title@ in integers. Written by sastdeploy @version@; program @hash@.
//
// `start` begins a recording. The core then takes @time_bins@ steps of @inputs@ counts each (polarity by polarity, row by row), one
// in every clock where in_valid and in_ready are 1, and works after each step. After the last one it sends @classes@ scores, one in
// every clock where out_valid and out_ready are 1; with the last of them, `predicted` is the class of the largest score, the
// lowest among equal ones.
module @name@_core (
    input wire clk,
    input wire rst,
    input wire start,
    output wire in_ready,
    input wire in_valid,
    input wire [7:0] in_count,
    output wire out_valid,
    input wire out_ready,
    output wire [@class_bits@-1:0] out_class,
    output wire signed [31:0] out_score,
    output wire out_last,
    output wire [@class_bits@-1:0] predicted
);
    localparam IDLE = 3'd0, FILL = 3'd1, WORK = 3'd2, LOOK = 3'd3, SEND = 3'd4;

    reg [2:0] state;
    reg [@input_bits@-1:0] input_place;
    reg [@step_bits@-1:0] step;
    reg [@layer_bits@-1:0] layer;
    reg [@class_bits@-1:0] score, best;
    reg signed [31:0] largest;
    reg begun;  // the current layer was started
    wire first = step == 0;

    // The counts of a step, clipped.
    reg [@count_bits@-1:0] frame [0:@inputs@-1];
    reg [@count_bits@-1:0] x0;
    wire [@input_bits@-1:0] x0_place;
    always @(posedge clk) begin
        x0 <= frame[x0_place];
        if (state == FILL && in_valid) frame[input_place] <= @clipped@;
    end

@layers@
    wire [@parts@-1:0] done = {@dones@};
    wire [31:0] last_y = x@parts@;
    wire signed [31:0] value = $signed(last_y);
    wire is_best = score == 0 || value > largest;

    assign in_ready = state == FILL;
    assign out_valid = state == SEND;
    assign out_class = score;
    assign out_score = value;
    assign out_last = score == @last_class@;
    assign predicted = is_best ? score : best;

    always @(posedge clk) begin
        case (state)
            IDLE: if (start) begin
                state <= FILL;
                input_place <= 0;
                step <= 0;
            end
            FILL: if (in_valid) begin
                input_place <= input_place == @last_input@ ? 0 : input_place + 1'b1;
                if (input_place == @last_input@) begin
                    state <= WORK;
                    layer <= 0;
                    begun <= 1'b0;
                end
            end
            WORK: begin
                begun <= 1'b1;
                if (|done) begin
                    begun <= 1'b0;
                    layer <= layer + 1'b1;
                    if (layer == @last_part@) begin
                        layer <= 0;
                        step <= step + 1'b1;
                        state <= step == @last_step@ ? LOOK : FILL;
                        score <= 0;
                    end
                end
            end
            LOOK: state <= SEND;  // the score is read
            SEND: if (out_ready) begin
                if (is_best) begin
                    best <= score;
                    largest <= value;
                end
                score <= score + 1'b1;
                state <= out_last ? IDLE : LOOK;
            end
            default: state <= IDLE;
        endcase
        if (rst) state <= IDLE;
    end
endmodule
